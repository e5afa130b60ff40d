BEGUN = []


def slurm_partition():
    """The partition that fits are submitted to, "" if SLURM chooses."""
    settings = workflow.resource_settings
    named = [settings.overwrite_resources.get("fit"), settings.default_resources]
    found = [of["slurm_partition"] for of in named if of and "slurm_partition" in of]
    return str(found[0].raw) if found else ""


def company_of(job):
    """The group of a fit, if the profile says how many of such share a submission."""
    name = SUITE.group(job)
    return name if name in workflow.group_settings.group_components else None


def begun(files):
    """Files that a job needs; what is there is checked first, before anything is carried out."""
    executor = workflow.executor_plugin
    if IS_MAIN and not BEGUN and executor and not (workflow.dryrun or workflow.touch):
        BEGUN.append(True)
        try:
            SUITE.begin()
            if executor.name == "slurm" and (partition := slurm_partition()):
                SUITE.check_queue(partition, workflow.group_settings.group_components)
        except configuration.ConfigError as error:
            sys.exit(f"anchorbench: {error}")
    return files
