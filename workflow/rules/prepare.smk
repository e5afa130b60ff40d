rule prepare:
    input:
        lambda wildcards: begun([]),
    output:
        "results/store/data/{data}.json",
    log:
        "results/logs/prepare/{data}.log",
    conda:
        "../../environment.yml"
    params:
        command=COMMAND,
        config=CONFIG,
        dataset=lambda wildcards: SUITE.instances[wildcards.data].name,
        protocol=lambda wildcards: SUITE.instances[wildcards.data].tag,
    message:
        "prepare {params.dataset}"
    shell:
        "{params.command} prepare --configfile {params.config:q} "
        "--dataset {params.dataset:q} --protocol {params.protocol:q} --go-on 2>&1 | tee {log:q}"
