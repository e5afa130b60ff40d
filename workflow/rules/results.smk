rule collect:
    input:
        lambda wildcards: begun(SUITE.scores()),
    output:
        SUITE.files("collected"),
    log:
        "results/logs/collect.log",
    localrule: True
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
            lambda wildcards, artefact=artefact: begun(SUITE.scores_of(artefact)),
        output:
            report(
                SUITE.files(artefact)[0],
                caption="../report/artefact.rst",
                category=meta["category"],
                labels={"artefact": artefact, "shows": meta["label"]},
            ),
            SUITE.files(artefact)[1:],
        log:
            f"results/logs/artefacts/{artefact}.log",
        localrule: True
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
        lambda wildcards: begun(SUITE.everything()[:-1]),
    output:
        SUITE.files("report"),
    log:
        "results/logs/report.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        command=COMMAND,
        config=CONFIG,
        title=TITLE,
    message:
        "write the report"
    shell:
        "{params.command} report --configfile {params.config:q} --title {params.title:q} > {log:q} 2>&1"


rule gate:
    input:
        lambda wildcards: begun(SUITE.everything()),
    output:
        touch(SUITE.gate()),
    log:
        "results/logs/gate.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        command=COMMAND,
        config=CONFIG,
    message:
        "check that nothing failed"
    shell:
        "{params.command} gate --configfile {params.config:q} 2>&1 | tee {log:q}"
