rule score:
    input:
        lambda wildcards: ancient(SUITE.jobs_of(wildcards)),
    output:
        "results/store/scores/{dataset}/{method}/{tag}/{recipe}.json",
    log:
        "results/logs/score/{dataset}/{method}/{tag}-{recipe}.log",
    conda:
        "../../environment.yml"
    params:
        command=COMMAND,
        config=CONFIG,
    message:
        "score {wildcards.method} ({wildcards.tag}) on {wildcards.dataset}"
    shell:
        "{params.command} score --configfile {params.config} --dataset {wildcards.dataset} "
        "--method {wildcards.method} --protocol {wildcards.tag} --recipe {wildcards.recipe} > {log} 2>&1"
