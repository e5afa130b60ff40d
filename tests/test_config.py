"""The configuration: merging, validation, messages that name file, key and remedy."""

from pathlib import Path

import pytest
import yaml

from anchorbench import cli
from anchorbench.study import config
from anchorbench.study.config import ConfigError
from anchorbench.study.plugins import SUITE

GOOD = {"datasets": {"synthetic": {"settings": {"rho0.4": {"rho": 0.4}}}}}


def write(folder: Path, name: str, content: dict) -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def message(*paths: Path, **overrides: object) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(paths, overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", ["paper.yaml", "demo.yaml"])
def test_shipped_configurations_are_valid(name):
    assert config.load([SUITE / "config" / name])["datasets"]


def test_later_files_win_key_by_key(tmp_path):
    first = write(
        tmp_path, "a.yaml", {**GOOD, "sources": {"x": {"url": "http://a", "md5": "0" * 32}}}
    )
    second = write(tmp_path, "b.yaml", {"sources": {"x": {"url": "local.zip"}}, "seed": 3})
    merged = config.load([first, second])
    assert merged["sources"]["x"] == {"url": "local.zip", "md5": "0" * 32}
    assert merged["seed"] == 3
    assert merged["datasets"] == GOOD["datasets"]
    assert merged["threads"] == config.DEFAULTS["threads"]


def test_command_line_values_have_types(tmp_path):
    path = write(tmp_path, "a.yaml", GOOD)
    assert config.load([path], {"seed": "7", "methods": "[vae]"})["methods"] == ["vae"]
    limits = {"seconds": "120", "memory_mb": "4e3"}  # as Snakemake hands over what is inside
    assert config.load([path], {"limits": limits})["limits"] == {"seconds": 120, "memory_mb": 4000}
    variants = {"x": {"method": "vae", "params": {"kl_weight": "0.5", "free": "true"}}}
    params = config.load([path], {"variants": variants})["variants"]["x"]["params"]
    assert params == {"kl_weight": 0.5, "free": True}
    assert "--config: seed" in message(path, seed="seven")
    assert "--config: limits.seconds" in message(path, limits={"seconds": "soon"})


def test_misspelt_key_names_file_key_and_nearest(tmp_path):
    path = write(tmp_path, "a.yaml", {**GOOD, "sead": 1})
    text = message(path)
    assert str(path) in text and "'sead'" in text and "did you mean 'seed'" in text


def test_misspelt_nested_key(tmp_path):
    content = {"datasets": {"synthetic": {"replicats": 3}}}
    text = message(write(tmp_path, "a.yaml", content))
    assert "datasets.synthetic.replicats" in text and "did you mean 'replicates'" in text


def test_wrong_type_names_key_and_file(tmp_path):
    good = write(tmp_path, "good.yaml", GOOD)
    bad = write(tmp_path, "bad.yaml", {"datasets": {"synthetic": {"replicates": "many"}}})
    text = message(good, bad)
    assert (
        text.startswith(str(bad)) and "datasets.synthetic.replicates" in text and "'many'" in text
    )


def test_missing_file_invalid_yaml_and_no_datasets(tmp_path):
    assert "no such configuration file" in message(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1", encoding="utf-8")
    assert "not valid YAML" in message(broken)
    assert "no datasets" in message(write(tmp_path, "s.yaml", {"sources": {}}))
    assert "no datasets" in message(write(tmp_path, "f.yaml", {"datasets": {"synthetic": False}}))
    assert config.load([write(tmp_path, "e.yaml", {"datasets": {"synthetic": {}}})])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--config", "seed"], ["--config seed", "key=value"]),
        (
            [*("fit", "--dataset", "synthetic", "--method", "floor"), "--block", "0-99"],
            ["--block 0-99", "0-24"],
        ),
    ],
)
def test_a_wrong_command_line_is_explained(tmp_path, capsys, arguments, words):
    file = write(tmp_path, "s.yaml", {"datasets": {"synthetic": {}}})
    if "fit" in arguments:
        arguments = [*arguments, "--protocol", "published"]
    assert cli.main([*arguments, "--configfile", str(file), "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("rope", {"mcc": -1}, "rope.mcc"),
        ("rope", {"mcc": "two"}, "rope.mcc"),
        ("contrasts", [["vae"]], "contrasts.0"),
        ("contrasts", [["vae", "nmf", "pca"]], "contrasts.0"),
    ],
)
def test_statistics_keys_are_checked(tmp_path, key, value, names):
    assert names in message(write(tmp_path, "a.yaml", {**GOOD, key: value}))
