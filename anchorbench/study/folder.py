"""A study of one's own: a folder with a configuration, and plugins beside the suite's."""

from __future__ import annotations

import shutil
from pathlib import Path

from anchorbench.study.config import STUDY, ConfigError
from anchorbench.study.plugins import METADATA, SUITE

WORKFLOW = str(SUITE / "workflow" / "Snakefile")
PROFILE = SUITE / "profiles" / "default"
SNAKEFILE = """from anchorbench.study.folder import WORKFLOW
workflow.include(WORKFLOW, overwrite_default_target=True)
"""
IGNORED = "/results/\n/.snakemake/\n__pycache__/\n"


def init(folder: Path) -> list[Path]:
    """Write a study into a folder, which is made if it is not there; return the files.

    Raises ConfigError where one of them is there already; then nothing is written.
    """
    texts = {
        STUDY: (SUITE / "config" / "study.yaml").read_text(encoding="utf-8"),
        "Snakefile": SNAKEFILE,
        ".gitignore": IGNORED,
    }
    templates = {f"{kind}/_template.py": SUITE / kind / "_template.py" for kind in METADATA}
    for name in (*texts, *templates):
        if (folder / name).exists():
            raise ConfigError(f"{folder / name} is there already: name another folder")
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for name, template in templates.items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(template, folder / name)
    return [folder / name for name in (*texts, *templates)]


def snakemake_arguments(arguments: list[str]) -> list[str]:
    """Return the arguments of a call of Snakemake in the working folder.

    The given ones, and where they leave it open: all cores, the suite's workflow and profile.
    """
    given = {argument.split("=", 1)[0] for argument in arguments}
    added = []
    if not given & {"--cores", "-c", "--jobs", "-j", "--executor", "-e", "--profile"}:
        added += ["--cores", "all"]
    if not given & {"--snakefile", "-s"} and not Path("Snakefile").is_file():
        added += ["--snakefile", WORKFLOW]
    if not given & {"--workflow-profile"} and not Path("profiles", "default").is_dir():
        added += ["--workflow-profile", str(PROFILE)]
    return [*arguments, *added]
