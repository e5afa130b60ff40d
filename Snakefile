# The entry: `snakemake --cores 8 --use-conda` runs everything that the configuration asks for.
workflow.include("workflow/Snakefile", overwrite_default_target=True)
