rule fit:
    input:
        lambda wildcards: begun(ancient(SUITE.needs_of(wildcards))),
    output:
        "results/store/jobs/{dataset}/{method}/{tag}/{recipe}/{block}.json",
    log:
        "results/logs/fit/{dataset}/{method}/{tag}-{recipe}-{block}.log",
    group:
        lambda wildcards: company_of(SUITE.job(wildcards))
    conda:
        "../../environment.yml"
    threads: SUITE.plan.config["threads"]
    resources:
        gpu=lambda wildcards: SUITE.uses_gpu(SUITE.job(wildcards)),
        runtime=lambda wildcards: SUITE.minutes(SUITE.job(wildcards)),
        mem_mb=lambda wildcards: SUITE.memory_mb(SUITE.job(wildcards)),
        turn=1,
    params:
        command=COMMAND,
        config=CONFIG,
    message:
        "fit {wildcards.method} ({wildcards.tag}) on {wildcards.dataset}, replicates {wildcards.block}"
    shell:
        "{params.command} fit --configfile {params.config:q} --dataset {wildcards.dataset:q} "
        "--method {wildcards.method:q} --protocol {wildcards.tag:q} --recipe {wildcards.recipe:q} --block {wildcards.block:q} --go-on "
        "2>&1 | tee {log:q}"
