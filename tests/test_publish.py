"""A reference put together from several runs: what is replaced, what stays, what is said of it."""

import gzip
import io

import numpy as np
import pandas as pd
import pytest
from fake_results import fake, instance

from anchorbench.reporting import catalogue
from anchorbench.reporting.publish import merge, publish
from anchorbench.reporting.results import Results, ResultsError, load_results, spread

DATA = {"synthetic_rho0": instance("synthetic", "rho0"), "zeisel": instance("zeisel", n_rows=753)}
KEYS = ["dataset", "method", "protocol", "replicate"]


def made_at(commit, datasets=DATA, cut=None, scale=1.0, **options):
    """Fake results of one commit, of the runs that `cut` keeps, with scaled scores."""
    found = fake(datasets, quirks=False, **options)
    keep = (lambda f: f) if cut is None else cut
    manifest = found.manifest | {"git_commit": commit}
    scores, runs = keep(found.scores), keep(found.runs)
    ran = set(runs[KEYS[:3]].itertuples(index=False, name=None))
    manifest["settings"] = [
        cell | {"commits": [commit] if tuple(cell[k] for k in KEYS[:3]) in ran else []}
        for cell in manifest["settings"]
    ]
    return Results(scores.assign(value=scores["value"] * scale), runs, manifest)


def some(frame):
    """Two replicates of the VAE on Zeisel, as published."""
    rows = (frame["method"] == "vae") & (frame["protocol"] == "published")
    return frame[rows & (frame["dataset"] == "zeisel") & frame["replicate"].isin([1, 2])]


def test_runs_are_replaced_with_all_their_scores_and_the_others_stay():
    old, new = made_at("aaaa"), made_at("bbbb", cut=some, scale=2.0)
    new.scores = new.scores[new.scores["metric"] == "cell_type_accuracy"]
    both = merge(old, new)
    assert len(both.runs) == len(old.runs)
    assert not both.runs.duplicated(KEYS).any()
    pd.testing.assert_frame_equal(
        some(both.scores).reset_index(drop=True), new.scores.reset_index(drop=True)
    )
    rest = [f.drop(some(f).index).sort_values([*KEYS, "metric"]) for f in (both.scores, old.scores)]
    assert len(rest[0]) > 50
    assert np.array_equal(rest[0]["value"], rest[1]["value"])


def test_every_cell_names_the_commits_of_its_runs():
    both = merge(made_at("aaaa"), made_at("bbbb", cut=some))
    commits = {tuple(c[k] for k in KEYS[:3]): c["commits"] for c in both.manifest["settings"]}
    assert commits.pop(("zeisel", "vae", "published")) == ["aaaa", "bbbb"]
    assert len(commits) > 5
    assert all(found == ["aaaa"] for found in commits.values())
    again = merge(both, made_at("cccc", cut=lambda f: f[f["dataset"] == "zeisel"]))
    of = {c["dataset"]: c["commits"] for c in again.manifest["settings"]}
    assert of == {"synthetic_rho0": ["aaaa"], "zeisel": ["cccc"]}


def test_what_is_known_of_data_that_were_not_run_again_stays():
    old = made_at("aaaa")
    unknown = DATA | {"zeisel": DATA["zeisel"] | {"n_rows": None}}
    new = made_at("bbbb", unknown, cut=lambda f: f[f["dataset"] == "synthetic_rho0"])
    new.manifest["sources"] = {"zeisel": {"url": "z.txt", "sha256": "cd" * 32}}
    both = merge(old, new)
    assert both.manifest["datasets"]["zeisel"]["n_rows"] == 753
    assert set(both.manifest["sources"]) == {"peerread", "zeisel"}


@pytest.mark.parametrize(("protocol", "replicate", "stays"), [
    ("published", 1, False), ("published", 3, True), ("corrected", 1, True), ("shared", 1, True),
])  # fmt: skip
def test_a_metrics_failure_goes_with_its_run(protocol, replicate, stays):
    old, new = made_at("aaaa"), made_at("bbbb", cut=some)
    failure = {"dataset": "zeisel", "method": "vae", "protocol": protocol, "replicate": replicate}
    failure |= {"metric": "mse", "reason": "not a finite number: mse"}
    old.manifest["metric_failures"] = [failure]
    assert merge(old, new).manifest["metric_failures"] == [failure] * stays


def test_published_twice_is_published_once(tmp_path):
    frame = pd.DataFrame(
        {"dataset": "zeisel", "method": "vae", "protocol": ["shared"], "cell": 0}
        | {"x": 0.5, "y": 0.25, "type": "glia"}
    )
    old = made_at("aaaa")
    made = publish(old, {"zeisel_map": frame}, tmp_path)
    assert {p.stem for p in made} == set(catalogue.discover())
    first = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".pdf"}
    publish(made_at("aaaa", cut=some), {"zeisel_map": frame}, tmp_path)
    assert {path: path.read_bytes() for path in first} == first
    packed = gzip.decompress((tmp_path / "scores.csv.gz").read_bytes())
    read = pd.read_csv(io.BytesIO(packed), float_precision="round_trip")
    expected = old.scores.sort_values([*KEYS, "metric"], kind="stable")
    assert np.array_equal(read["value"], expected["value"])
    files = [tmp_path / name for name in ("scores.csv", "runs.csv", "manifest.json")]
    assert len(load_results(*files).runs) == len(old.runs)
    places = pd.read_csv(tmp_path / "extracts" / "zeisel_map.csv")
    assert sorted(places["protocol"]) == ["corrected", "published"]


def test_an_extract_is_replaced_cell_by_cell(tmp_path):
    def places(method, x):
        rows = {"dataset": "zeisel", "method": method, "protocol": ["published"], "cell": 0}
        return pd.DataFrame(rows | {"x": x, "y": 0.0, "type": "glia"})

    old, new = made_at("aaaa"), made_at("bbbb", cut=some)
    publish(old, {"zeisel_map": pd.concat([places("vae", 1.0), places("nmf", 2.0)])}, tmp_path)
    publish(new, {"zeisel_map": places("vae", 3.0)}, tmp_path)
    read = pd.read_csv(tmp_path / "extracts" / "zeisel_map.csv")
    assert dict(zip(read["method"], read["x"], strict=True)) == {"nmf": 2.0, "vae": 3.0}


def test_what_is_of_data_alone_is_replaced_replicate_by_replicate(tmp_path, monkeypatch):
    about = catalogue.discover()["theory"]
    monkeypatch.setattr(catalogue, "discover", lambda: {"theory": about})

    def decoders(dataset, anchors):
        frame = pd.DataFrame({"dataset": dataset, "replicate": range(len(anchors))})
        rest = {"difference": 0.0, "invertible": True, "a2_margin": 0.1, "a3_margin": 0.7}
        rest |= {"structural": True, "additive": False, "identified": "A1-A3"}
        return frame.assign(anchors=anchors, **rest)

    both = pd.concat([decoders("theory_base", [2, 2, 2]), decoders("theory_anchors_0", [0])])
    publish(made_at("aaaa"), {"theory": both}, tmp_path)
    publish(made_at("bbbb", cut=some), {"theory": decoders("theory_base", [3])}, tmp_path)
    read = pd.read_csv(tmp_path / "extracts" / "theory.csv").set_index(["dataset", "replicate"])
    assert read.loc["theory_base", "anchors"].to_dict() == {0: 3, 1: 2, 2: 2}
    assert read.loc["theory_anchors_0", "anchors"].to_dict() == {0: 0}


def test_what_all_protocols_share_is_not_shared_with_a_search():
    frame = pd.DataFrame({"protocol": ["shared", "corrected"], "value": [1.0, 2.0]})
    found = spread(frame, ["published", "corrected", "tuned"])
    assert sorted(zip(found["protocol"], found["value"], strict=True)) == [
        ("corrected", 1.0), ("corrected", 2.0), ("published", 1.0),
    ]  # fmt: skip


def of_splits(splits, **options):
    return made_at("aaaa", DATA | {"zeisel": instance("zeisel", splits=splits)}, **options)


def test_fewer_draws_that_come_later_are_among_those_that_stay():
    both = merge(of_splits(5), of_splits(3, cut=some))
    assert both.manifest["datasets"]["zeisel"]["splits"] == 5
    both = merge(of_splits(3, cut=some), of_splits(5))
    assert both.manifest["datasets"]["zeisel"]["splits"] == 5


def test_replicates_that_mean_other_splits_are_not_put_together():
    """Replicate 4 is of split 0 where there are two with repeats."""
    with pytest.raises(ResultsError, match="zeisel: replicates are of 2 splits with repeats"):
        merge(of_splits(2), of_splits(5, cut=some))
