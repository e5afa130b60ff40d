rule score:
    input:
        lambda wildcards: ancient(SUITE.jobs_of(wildcards)),
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
        "--method {wildcards.method} --protocol {wildcards.tag} --recipe {wildcards.recipe} > {log} 2>&1"
