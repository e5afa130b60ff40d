"""A conda that solves and installs by py-rattler, and a channel of stubs on disk.

`python conda.py ARGUMENTS` is that conda, as far as Snakemake and the suite call one. Its channels
all stand for the one that SHIM_CHANNEL names. `base` writes it with the script that activates an
environment; `channel` writes a channel with one stub a package, whose python is ours.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

VERSION = "25.1.0"
SUBDIR = "linux-64"
ACTIVATE = 'export CONDA_PREFIX="$1"\nexport PATH="$1/bin:$PATH"\n'


def base(folder: Path, channel: Path) -> Path:
    """Write a conda into a folder; return where its programs lie."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(ACTIVATE)
    shim = programs / "conda"
    shim.write_text(
        f'#!/bin/sh\nexport SHIM_BASE="{folder}" SHIM_CHANNEL="file://{channel}"\n'
        f'exec "{sys.executable}" "{__file__}" "$@"\n'
    )
    shim.chmod(0o755)
    return programs


def channel(folder: Path, dependencies: list[str]) -> Path:
    """Write a channel that has each of some packages, "name=version", and nothing else."""
    packages = {}
    (folder / SUBDIR).mkdir(parents=True)
    (folder / "noarch").mkdir()
    for line in dependencies:
        file, about = _stub(folder / SUBDIR, *line.split("="))
        packages[file] = about
    for subdir, found in ((SUBDIR, packages), ("noarch", {})):
        index = {"info": {"subdir": subdir}, "packages": found, "packages.conda": {}}
        (folder / subdir / "repodata.json").write_text(
            json.dumps({**index, "removed": [], "repodata_version": 1})
        )
    return folder


def _stub(folder: Path, name: str, version: str) -> tuple[str, dict[str, Any]]:
    """Write a package that holds nothing, or a python that hands over to ours."""
    version += ".0" if name == "python" else ""
    python = f'#!/bin/sh\necho "$CONDA_PREFIX" >> "$SHIM_USED"\nexec "{sys.executable}" "$@"\n'
    files = {"bin/python": python.encode()} if name == "python" else {}
    about: dict[str, Any] = {
        "name": name, "version": version, "build": "stub_0", "build_number": 0,
        "depends": [] if name == "python" else ["python"], "arch": "x86_64", "platform": "linux",
        "subdir": SUBDIR, "timestamp": 1700000000000,
    }  # fmt: skip
    paths = [
        {
            "_path": path, "path_type": "hardlink", "size_in_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for path, content in files.items()
    ]  # fmt: skip
    info = {
        "info/index.json": json.dumps(about),
        "info/files": "".join(f"{path}\n" for path in files),
        "info/paths.json": json.dumps({"paths_version": 1, "paths": paths}),
    }
    target = folder / f"{name}-{version}-stub_0.tar.bz2"
    with tarfile.open(target, "w:bz2") as archive:
        for path, content in {**{k: v.encode() for k, v in info.items()}, **files}.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o755 if path.startswith("bin/") else 0o644
            archive.addfile(member, io.BytesIO(content))
    raw = target.read_bytes()
    sums = {kind: hashlib.new(kind, raw).hexdigest() for kind in ("md5", "sha256")}
    return target.name, {**about, **sums, "size": len(raw)}


async def solve(dependencies: list[str], where: str) -> list[Any]:
    """The packages that dependencies lead to, by conda's own rules."""
    import rattler

    virtual = [package.into_generic() for package in rattler.VirtualPackage.detect()]
    return await rattler.solve(
        sources=[rattler.Channel(where)], specs=[rattler.MatchSpec(d) for d in dependencies],
        platforms=[SUBDIR, "noarch"], virtual_packages=virtual,
    )  # fmt: skip


async def _create(file: Path, prefix: str) -> None:
    import rattler
    import yaml

    wanted = yaml.safe_load(file.read_text(encoding="utf-8"))["dependencies"]
    found = await solve(wanted, os.environ["SHIM_CHANNEL"])
    cache = Path(os.environ["SHIM_BASE"]) / "packages"
    await rattler.install(found, target_prefix=prefix, cache_dir=str(cache), show_progress=False)


def _option(arguments: list[str], name: str) -> str:
    """The value of an option, which has it behind it or after an equals sign."""
    for at, argument in enumerate(arguments):
        if argument == name:
            return arguments[at + 1]
        if argument.startswith(f"{name}="):
            return argument.split("=", 1)[1]
    sys.exit(f"conda: {name} is missing")


def main(arguments: list[str]) -> None:
    """Answer as conda does."""
    prefix = os.environ["SHIM_BASE"]
    about = {"conda_prefix": prefix, "root_prefix": prefix, "platform": SUBDIR}
    match arguments[:2]:
        case ["--version"]:
            print(f"conda {VERSION}")
        case ["info", *_]:
            print(json.dumps({**about, "conda_version": VERSION, "envs": []}))
        case ["config", *_]:
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ["env", "create"]:
            file = Path(_option(arguments, "--file"))
            asyncio.run(_create(file, _option(arguments, "--prefix")))
        case ["clean", *_]:
            pass
        case _:
            sys.exit(f"conda: {arguments} is not known here")


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # py-rattler's threads may crash an interpreter that winds up
