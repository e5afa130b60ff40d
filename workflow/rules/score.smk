rule score:
    input:
        lambda wildcards: begun(ancient(SUITE.jobs_of(wildcards))),
    output:
        "results/store/scores/{dataset}/{method}/{tag}/{recipe}.json",
    log:
        "results/logs/score/{dataset}/{method}/{tag}-{recipe}.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        command=COMMAND,
        config=CONFIG,
    message:
        "score {wildcards.method} ({wildcards.tag}) on {wildcards.dataset}"
    shell:
        "{params.command} score --configfile {params.config:q} --dataset {wildcards.dataset:q} "
        "--method {wildcards.method:q} --protocol {wildcards.tag:q} --recipe {wildcards.recipe:q} --go-on > {log:q} 2>&1"
