# The entry: `snakemake --cores 8 --use-conda` runs everything that config/paper.yaml asks for.
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
