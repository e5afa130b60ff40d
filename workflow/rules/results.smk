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
    message:
        "collect scores, runs and the manifest"
    shell:
        "{PYTHON} -m anchorbench collect --configfile {CONFIG} > {log} 2>&1"


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
            name=artefact,
            kind=meta["kind"].split("+")[0],
            caption=meta["caption"],
        message:
            "make {params.name}"
        shell:
            "{PYTHON} -m anchorbench {params.kind} {params.name} --configfile {CONFIG} > {log} 2>&1"


rule report:
    input:
        [file for file in SUITE.everything() if file != "results/report.html"],
    output:
        "results/report.html",
    log:
        "results/logs/report.log",
    conda:
        "../../environment.yml"
    message:
        "write the report"
    shell:
        "{PYTHON} -m anchorbench report --configfile {CONFIG} > {log} 2>&1"


rule gate:
    input:
        SUITE.everything(),
    output:
        touch(SUITE.gate()),
    log:
        "results/logs/gate.log",
    conda:
        "../../environment.yml"
    message:
        "check that nothing failed"
    shell:
        "{PYTHON} -m anchorbench gate --configfile {CONFIG} 2>&1 | tee {log}"
