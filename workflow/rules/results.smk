rule collect:
    input:
        SUITE.scores(),
    output:
        scores="results/scores.csv",
        runs="results/runs.csv",
        manifest="results/manifest.json",
    log:
        "results/logs/collect.log",
    conda:
        "../../environment.yml"
    params:
        command=COMMAND,
        config=CONFIG,
    message:
        "collect scores, runs, the manifest and factors"
    shell:
        "{params.command} collect --configfile {params.config:q} > {log:q} 2>&1"


for artefact, meta in SUITE.artefacts.items():

    rule:
        name:
            f"artefact_{artefact}"
        input:
            SUITE.scores_of(artefact),
        output:
            report(
                SUITE.artefact_files(artefact)[0],
                caption="../report/artefact.rst",
                category=meta["category"],
                labels={"artefact": artefact, "shows": meta["label"]},
            ),
            SUITE.artefact_files(artefact)[1:],
        log:
            f"results/logs/artefacts/{artefact}.log",
        conda:
            "../../environment.yml"
        params:
            command=COMMAND,
            config=CONFIG,
            name=artefact,
            kind=meta["kind"].split("+")[0],
            caption=meta["caption"],
        message:
            "make {params.name}"
        shell:
            "{params.command} {params.kind:q} {params.name:q} --configfile {params.config:q} > {log:q} 2>&1"


rule report:
    input:
        [file for file in SUITE.everything() if file != "results/report.html"],
    output:
        "results/report.html",
    log:
        "results/logs/report.log",
    conda:
        "../../environment.yml"
    params:
        command=COMMAND,
        files=NAMED,
    message:
        "write the report"
    shell:
        "{params.command} report --configfile {params.files:q} > {log:q} 2>&1"


rule gate:
    input:
        SUITE.everything(),
    output:
        touch(SUITE.gate()),
    log:
        "results/logs/gate.log",
    conda:
        "../../environment.yml"
    params:
        command=COMMAND,
        config=CONFIG,
    message:
        "check that nothing failed"
    shell:
        "{params.command} gate --configfile {params.config:q} 2>&1 | tee {log:q}"
