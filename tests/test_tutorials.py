"""The tutorials' code, run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pandas as pd
import pytest

from anchorbench.study.plugins import SUITE


def blocks(name, kind):
    """The blocks of code of a document."""
    text = (SUITE / "docs" / name).read_text(encoding="utf-8")
    return re.findall(rf"```{kind}\n(.*?)```", text, re.S)


def steps(folder, *commands):
    """Call the suite's steps in a study, as a person does by hand."""
    environment = {**os.environ, "PYTHONPATH": str(SUITE), "OMP_NUM_THREADS": "1"}
    for command in commands:
        argv = [sys.executable, "-m", "anchorbench", *command.split()]
        done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study's folder, with `methods/` of its own, as the working folder."""
    (tmp_path / "methods").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_your_first_method(study):
    method, by_hand = blocks("first_method.md", "python")
    (config,) = blocks("first_method.md", "yaml")
    (study / "methods" / "my_pca.py").write_text(method)
    (study / "config.yaml").write_text(config)
    scope = {}
    exec(by_hand, scope)
    assert scope["codes"].shape == (200, 2)
    assert scope["error"] == pytest.approx(0.01, rel=0.5)
    cells = [
        f"{step} --dataset synthetic --method my_pca --protocol corrected"
        for step in ("fit", "score")
    ]
    steps(study, "prepare --dataset synthetic", *cells, "collect", "report")
    scores = pd.read_csv("results/scores.csv")
    assert set(scores["metric"]) >= {"mse", "mcc"}
    assert scores["value"].notna().all() and scores["replicate"].nunique() == 3
    assert "My PCA" in (study / "results" / "report.html").read_text()


def test_where_are_my_factors(study):
    make, look = blocks("own_data.md", "python")
    (config,) = blocks("own_data.md", "yaml")
    (study / "config.yaml").write_text(config)
    exec(make, {})
    cell = "--dataset mine --method pca_varimax --protocol corrected"
    steps(study, "prepare --dataset mine", f"fit {cell}", f"score {cell}", "collect", "report")
    found = {}
    exec(look, found)
    largest, loadings, codes = found["largest"], found["loadings"], found["codes"]
    assert largest["item_1":"item_4"].nunique() == largest["item_5":"item_8"].nunique() == 1
    assert largest["item_1"] != largest["item_5"]
    signs = loadings[largest["item_1"]]["item_1":"item_4"] > 0
    assert (signs == signs["item_1"]).tolist() == [True, True, False, True]
    assert list(codes) == ["row", "split", "diet", "factor_1", "factor_2"]
    table = pd.read_csv("mine.csv")
    assert codes["row"].tolist() == list(range(300)) and (codes["diet"] == table["diet"]).all()
    assert set(codes["split"]) == {"train", "test"}
    apart = found["by_diet"][largest["item_1"]]
    assert abs(apart["fish"] - apart["seeds"]) > 0.5
    page = (study / "results" / "report.html").read_text()
    assert "factors/mine/pca_varimax/loadings.csv" in page and "coloured by diet" in page
