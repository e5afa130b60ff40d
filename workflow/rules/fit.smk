rule fit:
    input:
        lambda wildcards: ancient(
            DAG.data_of(
                "results/store/jobs/{dataset}/{method}/{tag}/{recipe}/{block}.json".format(
                    **wildcards
                )
            )
        ),
    output:
        "results/store/jobs/{dataset}/{method}/{tag}/{recipe}/{block}.json",
    log:
        "results/logs/fit/{dataset}/{method}/{tag}-{recipe}-{block}.log",
    threads: DAG.plan.config["threads"]
    resources:
        gpu=lambda wildcards, output: DAG.uses_gpu(output[0]),
        runtime=lambda wildcards, output: DAG.minutes(output[0]),
        mem_mb=int(DAG.plan.config["limits"]["memory_mb"]),
    conda:
        "../../environment.yml"
    message:
        "fit {wildcards.method} ({wildcards.tag}) on {wildcards.dataset}, replicates {wildcards.block}"
    shell:
        "{PYTHON} -m anchorbench fit --configfile {CONFIG} --dataset {wildcards.dataset} "
        "--method {wildcards.method} --protocol {wildcards.tag} --block {wildcards.block} "
        "2>&1 | tee {log}"
