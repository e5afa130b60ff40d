"""The committed reference run: complete, traceable, and what its tables and figures come from."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from anchorbench.reporting import catalogue
from anchorbench.reporting.results import RUNS, read_extract
from anchorbench.study.plugins import SUITE

REFERENCE = SUITE / "results" / "reference"


@pytest.mark.parametrize("name", catalogue.discover())
def test_committed_artefacts_are_those_of_the_committed_scores(reference, tmp_path, name):
    reference.extract = read_extract(REFERENCE / "extracts" / f"{name}.csv", reference.protocols)
    for path in catalogue.build(name, reference, tmp_path):
        committed = REFERENCE / path.relative_to(tmp_path)
        if path.suffix in (".csv", ".md", ".tex"):
            assert committed.read_bytes() == path.read_bytes(), path.name
        elif path.suffix == ".png":
            ours, theirs = image.imread(committed), image.imread(path)
            assert ours.shape == theirs.shape
            assert np.mean(np.abs(ours - theirs) > 0.1) < 1e-3, path.name


def test_every_score_belongs_to_a_run(reference):
    keys = ["dataset", "method", "protocol", "replicate"]
    runs = reference.runs.set_index(keys)
    assert runs.index.is_unique
    scored = pd.MultiIndex.from_frame(reference.scores[keys].drop_duplicates())
    assert scored.isin(runs.index[runs["status"] == "done"]).all()


def test_runs_say_whether_they_had_converged_and_older_ones_that_nobody_knows(reference):
    assert list(reference.runs.columns) == RUNS
    assert set(reference.runs["converged"]) <= {"yes", "no", "", "unknown"}


def test_nothing_local_is_in_the_manifest():
    text = (REFERENCE / "manifest.json").read_text()
    manifest = json.loads(text)
    assert manifest["versions"]["torch"]
    for source in manifest["sources"].values():
        assert len(source["sha256"]) == 64 and "/" not in source["url"].split("://")[0]
