BEGUN = []


def begun(files):
    """Files that a job needs; what is there is checked first, before anything is carried out."""
    executor = workflow.executor_plugin
    if IS_MAIN and not BEGUN and executor and not (workflow.dryrun or workflow.touch):
        BEGUN.append(True)
        try:
            SUITE.begin()
        except configuration.ConfigError as error:
            sys.exit(f"anchorbench: {error}")
    return files
