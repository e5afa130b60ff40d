rule score:
    input:
        lambda wildcards: ancient(
            DAG.jobs_of(wildcards.dataset, wildcards.method, wildcards.tag)
        ),
    output:
        "results/store/scores/{dataset}/{method}/{tag}/{recipe}.json",
    log:
        "results/logs/score/{dataset}/{method}/{tag}-{recipe}.log",
    conda:
        "../../environment.yml"
    message:
        "score {wildcards.method} ({wildcards.tag}) on {wildcards.dataset}"
    shell:
        "{PYTHON} -m anchorbench score --configfile {CONFIG} --dataset {wildcards.dataset} "
        "--method {wildcards.method} --protocol {wildcards.tag} > {log} 2>&1"
