"""What scores bear: one answer for tables, figures and the report."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from fake_results import fake, instance

from anchorbench.reporting import standing as st
from anchorbench.reporting.artefacts import leaderboard
from anchorbench.reporting.results import RUNS, SCORES, Results
from anchorbench.study.plugins import SUITE, discover

FOLD = np.array([0.02, -0.01, 0.0, 0.01, -0.02])


def results_of(
    values, metric="mse", dataset="zeisel", *, converged=None, config=None, params=None, **about
):
    """Results of one dataset and metric: values by method, floors and failures included."""
    scores, runs = [], []
    for method, x in values.items():
        for replicate, value in enumerate(x):
            cell = {"dataset": dataset, "method": method, "protocol": "corrected"}
            cell["replicate"] = replicate
            done = not (isinstance(value, float) and math.isnan(value))
            status = "done" if done else "diverged"
            said = (converged or {}).get(method, ["yes"] * 99)[replicate]
            runs.append({**cell, "status": status, "converged": said, "seconds": 1.0})
            if done:
                scores.append({**cell, "metric": metric, "value": value})
    ranges = {"mse": [0, None], "mcc": [0, 1], "perplexity": [1, None], "elbo": [None, None]}
    manifest = {
        "datasets": {
            dataset: {"plugin": "zeisel", "setting": "", "label": "Z", "likelihood": "gaussian"}
            | {"params": params or {}}
            | about
        },
        "methods": {m: {"label": m, "plugin": m, "control": m == "floor"} for m in values},
        "metrics": {
            m: {"label": m, "direction": "max" if m in ("mcc", "elbo") else "min", "range": r}
            for m, r in ranges.items()
        },
        "config": config or {},
    }
    frames = (pd.DataFrame(scores, columns=SCORES), pd.DataFrame(runs, columns=RUNS))
    return Results(*frames, manifest)


def of(results, metric="mse"):
    return st.standing(results, next(iter(results.datasets)), metric, "corrected")


def test_groups_follow_the_printed_means_and_bold_is_for_a_shown_winner():
    found = of(results_of({"a": 1 + FOLD, "b": 2 + FOLD[::-1], "c": 2.01 + FOLD}))
    assert {m: e.group for m, e in found.entries.items()} == {"a": 1, "b": 2, "c": 2}
    assert found.best == "a"
    tied = of(results_of({"a": 1 + FOLD, "b": 1.001 + FOLD[::-1], "c": 2.01 + FOLD}))
    assert {m: e.group for m, e in tied.entries.items()} == {"a": 1, "b": 1, "c": 2}
    assert tied.best is None


def test_no_rank_without_a_test():
    nan = math.nan
    alone = of(results_of({"a": 1 + FOLD, "lost": np.full(5, nan)}))
    assert [e.group for e in alone.entries.values()] == [None, None] and alone.best is None
    assert alone.entries["lost"].n == 0 and alone.entries["lost"].failed == 5
    few = of(results_of({"a": 1 + FOLD, "b": 2 + FOLD, "few": [0.1, 0.1, nan, nan, nan]}))
    assert few.entries["few"].group is None and few.entries["a"].group == 1
    two = of(results_of({"a": [1.0, 1.1], "b": [2.0, 2.1]}))
    assert [e.group for e in two.entries.values()] == [None, None]


def test_what_loses_to_the_training_mean_is_marked_and_not_judged():
    values = {"a": 1 + FOLD, "b": 2 + FOLD, "sunk": 9 + FOLD, "level": 5 + FOLD, "floor": [5.0] * 5}
    results = results_of(values)
    found = of(results)
    below = {m: e.below_floor for m, e in found.entries.items()}
    assert below == {"a": False, "b": False, "sunk": True, "level": True, "floor": False}
    assert found.entries["sunk"].group is None
    assert found.entries["sunk"].word == "no better than the floor"
    (pair,) = st.family_of_tests(results, [("zeisel", "mse", "corrected", "sunk", "a")])
    assert pair.word == "no better than the floor" and math.isnan(pair.p)
    # what is just within the region of practical equivalence of the floor is no better either
    close = results_of({"a": 4.95 + 0 * FOLD, "b": 4.85 + 0 * FOLD, "floor": [5.0] * 5})
    assert [of(close).entries[m].below_floor for m in "ab"] == [True, False]


def test_folds_are_tested_as_folds_and_draws_as_draws():
    values = {"a": 1 + FOLD, "b": 1.03 + FOLD[::-1]}
    widths = []
    for resampling in ("folds", "draws"):
        results = results_of(values, resampling=resampling)
        interval, kind = st.compare(results, "zeisel", "mse", "corrected", "b", "a")
        assert kind == resampling
        widths.append(interval.high - interval.low)
    assert widths[0] / widths[1] == pytest.approx(math.sqrt((1 / 5 + 1 / 4) / (1 / 5)))


def test_medians_stand_where_draws_diverge_and_the_table_says_so():
    rng = np.random.default_rng(0)
    good, bad = 1 + 0.1 * rng.normal(size=25), 2 + 0.1 * rng.normal(size=25)
    good[4] = 1e5
    results = results_of({"good": good, "bad": bad}, resampling="draws")
    found = of(results)
    assert found.kind == "ranks" and found.best == "good"
    assert found.entries["good"].value == np.median(good)
    frame = leaderboard.make(results)
    assert set(frame["statistic"]) == {"median"}
    (sheet,) = leaderboard.pretty(frame, results)
    assert "medians, for runs diverge (corrected)" in sheet.rows[0]
    # bounded metrics cannot diverge; folds are too few for ranks
    bounded = results_of({"a": [0.01] * 9 + [1.0], "b": [0.5] * 10}, "mcc", resampling="draws")
    assert of(bounded, "mcc").kind == "draws"
    assert of(results_of({"a": [*(1 + FOLD[:4]), 1e6], "b": 1 + FOLD})).kind == "folds"


def test_whether_runs_diverge_does_not_depend_on_where_zero_is():
    rng = np.random.default_rng(1)
    near = 0.05 + rng.normal(size=12)
    for shift in (0.0, 50.0):
        results = results_of({"a": near + shift, "b": near + shift + 1}, "elbo", resampling="draws")
        assert of(results, "elbo").kind == "draws"
    counts = np.array([0.0] * 9 + [1.0] * 3)
    assert of(results_of({"a": counts, "b": counts + 1}, resampling="draws")).kind == "draws"
    far = np.r_[near[:-1], -500.0]
    results = results_of({"a": far, "b": near}, "elbo", resampling="draws")
    assert of(results, "elbo").kind == "ranks"
    # ranks of five decide nothing, whatever diverges
    five = {"a": [*(1 + FOLD[:4]), 1e6], "b": 1 + FOLD}
    assert of(results_of(five, resampling="draws")).kind == "draws"


def test_a_method_that_lost_a_run_has_no_rank():
    rng = np.random.default_rng(2)
    lucky = np.r_[0.9 + 0.01 * rng.normal(size=5), np.full(20, math.nan)]  # the easy draws alone
    hard = np.r_[np.full(5, 0.9), np.full(20, 0.5)] + 0.01 * rng.normal(size=25)
    level = 0.7 + 0.01 * rng.normal(size=25)
    values = {"lucky": lucky, "hard": hard, "level": level}
    found = of(results_of(values, "mcc", resampling="draws"), "mcc")
    assert {m: e.group for m, e in found.entries.items()} == {"lucky": None, "hard": 2, "level": 1}


def test_values_that_share_fits_are_not_tested():
    results = results_of({"a": 0.9 + FOLD, "b": 0.1 + FOLD[::-1]}, "mcc")
    pair = ("zeisel", "mcc", "corrected", "a", "b")
    assert st.family_of_tests(results, [pair])[0].word == "better"
    results.metrics["mcc"]["needs"] = ["codes", "peers"]
    results.remembered.clear()
    (shown,) = st.family_of_tests(results, [pair])
    assert shown.word == "" and math.isinf(shown.interval.low)
    assert shown.interval.estimate == pytest.approx(0.8)
    entries = of(results, "mcc").entries
    assert entries["a"].group is None and math.isinf(entries["a"].high)


def test_of_a_hidden_part_the_floor_is_asked_about_that_part():
    values = {"copy": 1 + FOLD, "a": 2 + FOLD[::-1], "floor": [9.0] * 5}
    results = results_of(values, "recon_nll")
    hidden = results_of(
        {"copy": 12 + FOLD, "a": 5 + FOLD[::-1], "floor": [9.0] * 5}, "completion_nll"
    )
    about = {
        m: {"label": m, "direction": "min", "range": [0, None]}
        for m in ("recon_nll", st.COMPLETION)
    }
    scores = pd.concat([results.scores, hidden.scores])
    both = Results(scores, results.runs, results.manifest | {"metrics": about})
    sunk = {m: {n: e.below_floor for n, e in of(both, m).entries.items()} for m in about}
    assert sunk["recon_nll"] == {"copy": False, "a": False, "floor": False}
    assert sunk[st.COMPLETION] == {"copy": True, "a": False, "floor": False}
    pairs = [("zeisel", m, "corrected", "copy", "a") for m in about]
    words = [st.family_of_tests(both, [pair])[0].word for pair in pairs]
    assert words == ["better", "no better than the floor"]


def test_collapses_have_a_rate_and_the_others_a_median():
    x = np.array([0.3] * 16 + [3.0] * 9)
    values = {"a": x, "b": np.full(25, 0.4), "floor": np.full(25, 20.0)}
    results = results_of(values, resampling="draws", params={"noise_sd": 0.5})
    entry = of(results).entries["a"]
    assert entry.collapsed == 9 and entry.median_of_others == 0.3
    row = leaderboard.make(results).set_index("method").loc["a"]
    assert (row["collapsed_low"], row["collapsed_high"]) == pytest.approx(
        (0.2025, 0.5548), abs=1e-4
    )
    assert of(results_of(values, resampling="draws")).entries["a"].collapsed is None


def test_ropes_are_shares_of_the_floor_of_the_noise_or_what_the_configuration_says():
    values = {"a": 1 + FOLD, "floor": [50.0] * 5}
    results = results_of(values)
    assert st.rope(results, "zeisel", "mse", "corrected") == pytest.approx(0.02 * 50)
    assert st.rope(results, "zeisel", "mcc", "corrected") == 0.01
    simulated = results_of(values, params={"noise_sd": 0.5})
    assert st.rope(simulated, "zeisel", "mse", "corrected") == pytest.approx(0.02 * 0.25)
    own = results_of(values, config={"rope": {"mse": "10%", "mcc": 0.3}})
    assert st.rope(own, "zeisel", "mse", "corrected") == pytest.approx(5)
    assert st.rope(own, "zeisel", "mcc", "corrected") == 0.3
    perplexity = results_of({"a": 200 + FOLD, "b": 300 + FOLD}, "perplexity")
    assert st.rope(perplexity, "zeisel", "perplexity", "corrected") == pytest.approx(2, abs=0.01)


def listed_of(*families):
    """What is listed of families (name, plugin, settings)."""
    datasets = {f"{name}_{s}": instance(plugin, s) for name, plugin, many in families for s in many}
    return st.listed(fake(datasets, {"vae": "VAE"}, replicates=1, quirks=False))


def test_of_a_sweep_the_base_is_listed_and_of_what_has_none_everything():
    many = [f"n_{n}" for n in range(st.SWEEP)]
    sweep = ("dial", "dial", [st.BASE, *many])
    assert listed_of(sweep) == ["dial_base"]
    assert listed_of(sweep, ("dial_plane", "dial", ["a", *many])) == ["dial_base"]
    assert listed_of(("dial", "dial", [st.BASE, *many[1:]])) == ["dial_base", *(
        f"dial_{s}" for s in many[1:]
    )]  # fmt: skip
    assert listed_of(("mine", "mine", ["a", *many])) == ["mine_a", *(f"mine_{s}" for s in many)]


def test_headline_metrics():
    results = fake(replicates=1)
    say = {d: st.headline(results, d, "published") for d in results.datasets}
    assert say["synthetic_rho0"] == "dci" and say["peerread"] == "perplexity"
    assert st.headline(results, "synthetic_rho0", "corrected") == "mcc"
    assert st.headline(results, "synthetic_rho0", "tuned") == "mcc"
    results.manifest["datasets"]["zeisel"]["headline"] = "mse"
    assert st.headline(Results(results.scores, results.runs, results.manifest), "zeisel", "x") == (
        "mse"
    )
    assert st.headline(results, "an own table", "corrected") == "recon_nll"


def test_contrasts_are_one_family_a_protocol():
    values = {"a": 1 + FOLD, "b": 1.2 + FOLD[::-1], "c": 1.1 + FOLD}
    results = results_of(values, headline="mse", config={"contrasts": [["b", "a"], ["c", "a"]]})
    b, c = st.contrasts(results)
    assert (b.word, c.word) == ("worse", "worse")
    single, _ = st.compare(results, "zeisel", "mse", "corrected", "b", "a")
    assert b.p >= single.p and b.interval == single
    assert st.contrasts(results_of(values)) == []


def test_marks_of_runs_that_had_not_converged():
    values = {"a": 1 + FOLD, "b": 2 + FOLD, "old": 2 + FOLD}
    said = {"a": ["yes"] * 5, "b": ["no", "no", "yes", "", "no"], "old": ["unknown"] * 5}
    results = results_of(values, converged=said)
    entries = of(results).entries
    assert [entries[m].unconverged for m in values] == [0, 3, 0]
    assert [entries[m].unknown for m in values] == [0, 0, 5]
    frame = leaderboard.make(results)
    (sheet,) = leaderboard.pretty(frame, results)
    marked = {row[0] for row in sheet.rows if isinstance(row, list) and "†" in row[1]}
    assert marked == {"b"}
    assert frame.set_index("method")["unconverged"].to_dict() == {"a": 0, "b": 3, "old": 0}


def test_every_dataset_says_how_it_is_judged():
    known = {name for p in discover("metrics", SUITE).values() for name in p.meta.get("values", [])}
    known |= set(discover("metrics", SUITE))
    for name, plugin in discover("datasets", SUITE).items():
        assert plugin.meta["resampling"] in ("folds", "draws"), name
        assert set(plugin.meta["headline"].values()) <= known, name
