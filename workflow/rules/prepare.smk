rule prepare:
    output:
        "results/store/data/{data}/meta.json",
    log:
        "results/logs/prepare/{data}.log",
    params:
        dataset=lambda wildcards: DAG.instances[wildcards.data].name,
        protocol=lambda wildcards: DAG.instances[wildcards.data].tag,
    conda:
        "../../environment.yml"
    message:
        "prepare {params.dataset}"
    shell:
        "{PYTHON} -m anchorbench prepare --configfile {CONFIG} "
        "--dataset {params.dataset} --protocol {params.protocol} 2>&1 | tee {log}"
