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
    try:
        _write(folder, texts, templates)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be made a study ({error}): name another folder"
        ) from None
    return [folder / name for name in (*texts, *templates)]


def _write(folder: Path, texts: dict[str, str], templates: dict[str, Path]) -> None:
    """Write texts and copies of templates into a folder."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for name, template in templates.items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(template, folder / name)


def snakemake_arguments(arguments: list[str]) -> list[str]:
    """Return the arguments of a call of Snakemake in the working folder.

    The given ones, and where they leave it open: all cores, the suite's workflow and profile.
    """
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    added = []
    if not _given(options, ("-c", "-j", "-e"), ("--cores", "--jobs", "--executor", "--profile")):
        added += ["--cores", "all"]
    if not _given(options, ("-s",), ("--snakefile",)) and not Path("Snakefile").is_file():
        added += ["--snakefile", WORKFLOW]
    if not _given(options, (), ("--workflow-profile",)) and not Path("profiles/default").is_dir():
        added += ["--workflow-profile", str(PROFILE)]
    return [*added, *arguments]


def config_files(arguments: list[str]) -> list[str]:
    """Return the configuration files that a call of Snakemake names."""
    files: list[str] = []
    named = False
    for argument in arguments:
        head, equals, value = argument.partition("=")
        if argument.startswith("-"):
            named = len(head) > len("--config") and "--configfiles".startswith(head)
            files += [value] if named and equals else []
        elif named:
            files.append(argument)
    return files


def _given(options: list[str], short: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Whether one of some options is given: as "-c 4", "-c4", "--cores=4", "--core 4"."""
    for option in options:
        head = option.split("=", 1)[0]
        if head.startswith("--") and len(head) > 3:
            if any(name.startswith(head) for name in names):
                return True
        elif head[:2] in short:
            return True
    return False
