"""Artefacts: what they count, how they judge, and that they are made whatever happened."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_results import (
    METHODS,
    QUIRKS,
    demo_datasets,
    fake,
    fake_runs,
    instance,
    paper_datasets,
)

from anchorbench.reporting import catalogue, render, standing
from anchorbench.reporting.artefacts import (
    _boxes,
    _paired,
    _paper,
    _style,
    _tables,
    _topics,
    average_ranks,
    comparisons,
    cost,
    fidelity,
    figure_2,
    figure_3,
    figure_4,
    leaderboard,
    table_1a,
    table_1b,
    table_2,
    table_3b,
    table_6,
    zeisel_map,
)
from anchorbench.reporting.results import (
    RUNS,
    SCORES,
    Results,
    ResultsError,
    load_results,
    read_published,
    spread,
    with_perplexity,
)
from anchorbench.study.plugins import discover

FEW = {name: METHODS[name] for name in ("sparse_vae", "vae", "nmf", "floor", "oracle")}
PAPER = "table_1a table_1b table_2 table_3a table_3b table_4 table_5a table_5b table_6 figure_2 "
PAPER += "questionnaire keys_map keys_by_n theory_verdict "
PAPER += "figure_3 figure_4 zeisel_map fidelity leaderboard comparisons quirks cost "
PAPER += "theory theory_anchors tuning budget average_ranks"


def by_hand(values, failed=0, metric="recon_nll", dataset="peerread", method="vae", **about):
    """Results of one cell with the given values, and as many failed runs as said."""
    cell = {"dataset": dataset, "method": method, "protocol": "published"}
    total = len(values) + failed
    scores = [{**cell, "replicate": r, "metric": metric, "value": v} for r, v in enumerate(values)]
    runs = [
        {**cell, "replicate": r, "status": "done" if r < len(values) else "oom", "seconds": 1.0}
        for r in range(total)
    ]
    plugin = dataset if dataset in ("peerread", "movielens", "zeisel") else "synthetic"
    manifest = {
        "datasets": {dataset: instance(plugin, likelihood="multinomial") | about},
        "metrics": {metric: {"label": metric, "direction": "min"}},
    }
    return Results(pd.DataFrame(scores, columns=SCORES), pd.DataFrame(runs, columns=RUNS), manifest)


def together(*results):
    """Several results as one, with the first one's manifest."""
    return Results(
        pd.concat([r.scores for r in results]),
        pd.concat([r.runs for r in results]),
        results[0].manifest,
    )


def make(name, results):
    """Make an artefact with its extract, if it has one; return what `make` gives."""
    about = catalogue.discover()[name]
    if about["extract"]:
        plugins = about["datasets"]
        runs = [
            run
            for dataset, data in results.datasets.items()
            if data["plugin"] in plugins
            for run in fake_runs(results, dataset)
        ]
        results.extract = catalogue.extract(name, runs)
    return catalogue.load(name).make(results)


# --- discovery and contracts -------------------------------------------------------------------


def test_every_artefact_is_there_and_described():
    known = catalogue.discover()
    assert set(known) == set(PAPER.split())
    for name, about in known.items():
        keys = {"kind", "label", "caption", "category", "datasets", "extract"}
        assert set(about) - {"quirks"} == keys, name
        assert about["category"] in catalogue.CATEGORIES
        assert hasattr(catalogue.load(name), "extract") == about["extract"]


def test_discovery_imports_no_heavy_library():
    code = (
        "import sys; from anchorbench.reporting import catalogue; catalogue.discover(); "
        "print([m for m in ('matplotlib', 'torch', 'sklearn', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_artefacts_know_neither_store_nor_plugins_nor_torch():
    for path in (Path(catalogue.__file__).parent / "artefacts").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                forbidden = (
                    "torch",
                    "anchorbench.runs.store",
                    "anchorbench.runner",
                    "anchorbench.cli",
                )
                assert not name.startswith(forbidden), f"{path.name} imports {name}"


def test_unknown_artefact_is_named_with_the_known_ones():
    with pytest.raises(KeyError, match=r"table_9.*table_1a"):
        catalogue.load("table_9")


# --- reading -----------------------------------------------------------------------------------


def write(results, folder):
    results.scores.to_csv(folder / "scores.csv", index=False)
    results.runs.to_csv(folder / "runs.csv", index=False)
    (folder / "manifest.json").write_text(json.dumps(results.manifest))
    return [folder / name for name in ("scores.csv", "runs.csv", "manifest.json")]


def test_results_survive_their_files(tmp_path):
    results = fake(replicates=2)
    loaded = load_results(*write(results, tmp_path))
    pd.testing.assert_frame_equal(loaded.scores, results.scores)
    assert loaded.counts == results.counts
    assert loaded.extract is None


def test_bad_result_files_are_named(tmp_path):
    paths = write(fake(replicates=1), tmp_path)
    with pytest.raises(ResultsError, match=r"nowhere\.csv"):
        load_results(tmp_path / "nowhere.csv", *paths[1:])
    paths[0].write_text("dataset,method\n")
    with pytest.raises(ResultsError, match=r"scores\.csv: no column protocol"):
        load_results(*paths)


def test_a_shared_row_stands_under_each_protocol():
    frame = pd.DataFrame({"protocol": ["published", "shared"], "value": [1.0, 2.0]})
    out = spread(frame, ["published", "corrected"])
    pairs = sorted(zip(out["protocol"], out["value"], strict=True))
    assert pairs == [("corrected", 2.0), ("published", 1.0), ("published", 2.0)]


def test_published_numbers_are_those_of_the_paper():
    paper = read_published()
    assert len(paper) == 18 + 12 + 18 + 5
    hit = paper[(paper["artefact"] == "table_2") & (paper["method"] == "nmf")]
    assert list(hit["mean"]) == [60.1, 58.0, 57.3]
    # the perplexities follow from the likelihoods and 46.89 tokens an abstract
    of = paper[paper["artefact"] == "table_1b"].pivot(
        index="method", columns="metric", values="mean"
    )
    assert np.abs(np.exp(of["recon_nll"] / 46.89) - of["perplexity"]).max() < 0.6


# --- summaries ---------------------------------------------------------------------------------


def test_summary_against_hand():
    results = by_hand([1.0, 2.0, 6.0], failed=2)
    row = _tables.summarise(results, ["peerread"], ["recon_nll"]).set_index("method").loc["vae"]
    assert row["mean"] == 3.0
    assert row["sd"] == pytest.approx(math.sqrt(14 / 3))  # ddof = 0
    assert (row["n"], row["failed"], row["median"]) == (3, 2, 2.0)
    assert (row["published_mean"], row["published_sd"]) == (252.6, 1.4)


def test_numbers_table_has_the_columns_that_scripts_rely_on():
    expected = "dataset setting method protocol metric mean sd n failed published_mean published_sd"
    results = fake(replicates=2)
    for name in ("table_1a", "table_1b", "table_2", "table_4", "fidelity", "leaderboard", "cost"):
        assert list(make(name, results).columns)[:11] == expected.split(), name


def test_not_run_failed_and_not_applicable_are_told_apart():
    results = by_hand([1.0, 2.0])
    table = _tables.summarise(results, ["peerread"], ["recon_nll", "perplexity", "elbo"])
    nll = table[table["metric"] == "recon_nll"].set_index("method")
    assert nll.loc["sparse_vae", "n"] == 0 and nll.loc["sparse_vae", "failed"] == 0  # not run
    assert "elbo" not in set(table["metric"])  # does not apply: finished, but no score
    failed = _tables.summarise(by_hand([], failed=3), ["peerread"], ["elbo"])
    assert failed[["n", "failed"]].values.tolist() == [[0, 3]]


def test_nan_scores_do_not_count_as_values():
    results = by_hand([1.0, math.nan, math.inf])
    row = _tables.summarise(results, ["peerread"], ["recon_nll"]).set_index("method").loc["vae"]
    assert (row["mean"], row["n"]) == (1.0, 1)


def test_metric_failures_are_counted():
    results = by_hand([1.0])
    failure = {"dataset": "peerread", "method": "vae", "protocol": "shared", "metric": "recon_nll"}
    results.manifest["metric_failures"] = [{**failure, "replicate": 1, "reason": "ValueError"}]
    row = _tables.summarise(results, ["peerread"], ["recon_nll"]).set_index("method").loc["vae"]
    assert (row["n"], row["failed"]) == (1, 1)


def test_perplexity_is_per_token():
    results = with_perplexity(by_hand([46.0, 92.0], tokens_per_row=46.0))
    rows = results.scores[results.scores["metric"] == "perplexity"]
    assert rows["value"].tolist() == pytest.approx([math.e, math.e**2])
    without = with_perplexity(by_hand([46.0]))
    assert set(without.scores["metric"]) == {"recon_nll"}


def test_perplexity_of_the_metric_is_kept():
    results = by_hand([46.0, 92.0], tokens_per_row=46.0)
    first = results.scores.iloc[[0]].assign(metric="perplexity", value=2.5)
    results.scores = pd.concat([results.scores, first], ignore_index=True)
    made = with_perplexity(results).scores.query("metric == 'perplexity'").set_index("replicate")
    assert made["value"].to_dict() == pytest.approx({0: 2.5, 1: math.e**2})


def test_number_sheets_bold_the_best_without_controls():
    results = fake(methods={k: METHODS[k] for k in ("vae", "sparse_vae", "oracle")}, quirks=False)
    frame = _tables.summarise(results, ["synthetic_rho0"], ["mse"])
    (sheet,) = _tables.number_sheets(frame, results)
    bold = {sheet.rows[i][0] for i, _ in sheet.bold}
    assert bold == {"Sparse VAE"}  # the oracle's error is lower still
    assert [row[0] for row in sheet.rows if isinstance(row, list)][-1] == METHODS["oracle"]


def test_cells_tell_of_failures():
    assert _tables.cell(12.34, 0.5, 5, 0, 1) == "12.3 (0.5)"
    assert _tables.cell(12.34, 0.5, 4, 1, 1) == "12.3 (0.5) [4/5]"
    assert _tables.cell(12.34, 0.0, 1, 0, 1) == "12.3 [1 run]"
    assert _tables.cell(12.34, 0.0, 1, 4, 1) == "12.3 [1/5]"
    assert _tables.cell(12.34, 0.5, 4, 0, 1, most=5) == "12.3 (0.5) [4 runs]"
    assert _tables.cell(12.34, 0.5, 5, 0, 1, most=5) == "12.3 (0.5)"
    assert _tables.cell(math.nan, math.nan, 0, 5, 1) == "failed [0/5]"
    assert _tables.cell(math.nan, math.nan, 0, 0, 1) == "not run"


def test_table_1a_says_that_users_were_missing():
    frame = make("table_1a", fake(replicates=2))
    assert any("8,762 users" in note for note in frame.attrs["notes"])
    assert table_1a.METRICS[1] in set(frame["metric"])


def test_table_2_goes_from_high_to_low():
    results = fake(replicates=2)
    assert list(dict.fromkeys(table_2.make(results)["setting"])) == ["high", "medium", "low"]


def test_published_numbers_stand_beside_none_of_another_scale():
    results = fake(replicates=3)  # 45.85 tokens on PeerRead, 15.0 on its shift, 46.89 in the paper
    for name in ("table_1b", "table_2"):
        frame = make(name, results)
        nll = frame[frame["metric"] == "recon_nll"]
        assert nll["published_mean"].isna().all(), name
        (sheet,) = catalogue.load(name).pretty(frame, results)
        place = next(i for i, row in enumerate(sheet.rows) if "another scale" in row)
        assert "46.89 in the paper" in sheet.rows[place]
        alone = {row[0]: row[1] for row in sheet.rows[place + 1 :]}
        assert alone["VAE"] == {"table_1b": "252.6 (1.4)", "table_2": "54.6 (0.5)"}[name]
    perplexity = make("table_1b", results).query("metric == 'perplexity' and method == 'vae'")
    assert set(perplexity["published_mean"]) == {219}  # per token


@pytest.mark.parametrize(
    ("plugin", "metric", "about", "same"),
    [
        ("peerread", "recon_nll", {"tokens_per_row": 46.8}, True),
        ("peerread", "recon_nll", {"tokens_per_row": 45.8}, False),
        ("peerread", "perplexity", {"tokens_per_row": 45.8}, True),
        ("peerread", "perplexity", {"n_features": 800}, False),
        ("movielens", "recall_nofold@5", {"n_features": 300}, True),
        ("movielens", "recall_nofold@5", {"n_features": 100}, False),
        ("zeisel", "cell_type_accuracy", {"n_features": 100}, True),
    ],
)
def test_scales(plugin, metric, about, same):
    results = by_hand([1.0], dataset=plugin, **({"n_features": None} | about))
    assert (_paper.other_scale(results, plugin, "published", metric) == "") == same


@pytest.mark.parametrize("name", ["table_1b", "table_2", "table_3b", "table_5b"])
def test_simulated_data_never_stand_under_the_name_of_real_ones(name, tmp_path):
    results = fake(demo_datasets(), replicates=2, quirks=False)
    results.extract = catalogue.extract(name, fake_runs(results, "simulated_counts")) if (
        catalogue.discover()[name]["extract"]
    ) else None  # fmt: skip
    catalogue.build(name, results, tmp_path)
    title = (tmp_path / "tables" / f"{name}.md").read_text().split("\n")[0]
    assert "PeerRead" not in catalogue.discover()[name]["label"]
    if name != "table_2":
        assert title.endswith(", Simulated counts")
        assert "Paper (the three" not in (tmp_path / "tables" / f"{name}.md").read_text()
    assert "PeerRead" not in title


def test_classes_go_by_their_own_name():
    results = fake({"zeisel": instance("zeisel"), "mine": instance("file")}, FEW, replicates=2)
    results.manifest["metrics"]["cell_type_accuracy"] = {
        "label": "{classes} accuracy",
        "direction": "max",
        "range": [0, 1],
    }
    results.manifest["datasets"]["mine"]["class_name"] = "diagnosis"
    row = results.scores.iloc[:1].assign(
        dataset="mine", metric="cell_type_accuracy", method="vae", value=0.5
    )
    results.scores = pd.concat([results.scores, row], ignore_index=True)
    results = Results(results.scores, results.runs, results.manifest)
    assert results.label("cell_type_accuracy", "zeisel") == "Cell type accuracy"
    assert results.label("cell_type_accuracy", "mine") == "Diagnosis accuracy"
    sheets = {s.title: s for s in leaderboard.pretty(leaderboard.make(results), results)}
    heads = [row for row in sheets["File"].rows if isinstance(row, str)]
    assert any(head.startswith("Diagnosis accuracy") for head in heads)
    assert not any("Cell type" in head for head in heads)


def test_a_stand_in_is_used_and_named():
    frame = table_1b.make(fake(demo_datasets(), replicates=2))
    assert set(frame["dataset"]) == {"simulated_counts"}
    assert frame["published_mean"].isna().all()
    assert "Simulated counts, in place of peerread" in " ".join(frame.attrs["notes"])


def test_tables_of_what_was_not_run_show_the_paper():
    frame = make("table_2", fake(demo_datasets(), replicates=2))
    assert len(frame) == 18 and set(frame["n"]) == {0}
    assert frame["published_mean"].notna().all()


# --- fidelity ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "orders", "difference", "verdict"),
    [
        ((101.9, 0.5, 5, 0), [], "", "reproduced"),  # within two sd
        ((102.1, 0.5, 5, 0), [], "", "not reproduced"),  # just outside, nothing to compare with
        ((105.0, 0.5, 5, 0), [True], "", "same order"),
        ((105.0, 0.5, 5, 0), [True, False], "", "not reproduced"),
        ((105.0, 0.5, 5, 0), [True, None], "", "not reproduced"),  # no test bears the second
        ((100.0, 0.5, 5, 0), [True], "fewer rows", "same order"),
        ((100.0, 0.5, 5, 0), [None], "fewer rows", "not comparable"),
        ((100.0, 0.5, 4, 1), [True], "", "not comparable"),  # four finished runs
        ((100.0, 1.1, 5, 0), [True], "", "not comparable"),  # our error above the paper's sd
        ((math.nan, math.inf, 0, 0), [], "", "not run"),
        ((math.nan, math.inf, 0, 5), [], "", "not comparable"),
    ],
)
def test_verdicts(ours, orders, difference, verdict):
    assert fidelity.judge(ours, (100.0, 1.0), orders, difference)[0] == verdict


def test_one_run_of_five_reproduces_nothing_and_the_floor_is_a_gate():
    verdict, reason = fidelity.judge((190, 2.0, 1, 4), (186, 8), [])
    assert verdict == "not comparable" and reason.endswith("4 of 5 runs failed")
    verdict, reason = fidelity.judge((186, 1.0, 5, 0), (186, 8), [True], below_floor=True)
    assert verdict == "not comparable" and "training mean" in reason


def published(values, **about):
    """Results on PeerRead, published, of several methods: likelihoods of five folds."""
    cells = [by_hand(x, method=m, n_rows=11_777, **about) for m, x in values.items()]
    cells[0].manifest["metrics"]["recon_nll"]["range"] = [0, None]
    return Results(
        pd.concat([c.scores for c in cells]),
        pd.concat([c.runs for c in cells]),
        cells[0].manifest
        | {"methods": {m: {"label": m, "plugin": m, "control": m == "floor"} for m in values}},
    )


STEPS = np.array([0.1, -0.2, 0.0, 0.2, -0.1])


def fidelity_of(results, metric="recon_nll", protocol="published"):
    frame = fidelity.make(results).query("artefact == 'table_1b'")
    frame = frame[(frame["metric"] == metric) & (frame["protocol"] == protocol)]
    return frame.set_index("method")


def test_an_order_counts_where_a_test_bears_it():
    # the paper: sparse VAE 245.0 (2.0), VAE 252.6 (1.4), NMF 267.2 (1.0)
    clear = {"sparse_vae": 256 + STEPS, "vae": 260 + STEPS[::-1], "nmf": 270 + STEPS}
    verdicts = fidelity_of(published(clear))["verdict"]
    assert dict(verdicts[["sparse_vae", "vae", "nmf"]]) == dict.fromkeys(clear, "same order")
    # a difference of .0001 is of the paper's sign, and says nothing
    hair = clear | {"vae": 256.0001 + STEPS[::-1]}
    found = fidelity_of(published(hair))
    assert found.loc["vae", "verdict"] == "not reproduced"
    assert "1 of 2 orders as in the paper, 1 not decided" in found.loc["vae", "reason"]
    # what loses to the floor orders nothing
    sunk = clear | {"floor": np.full(5, 265.0)}
    found = fidelity_of(published(sunk))
    assert "training mean" in found.loc["nmf", "reason"]
    assert found.loc["nmf", "verdict"] == "not comparable"
    assert found.loc["vae", "verdict"] == "same order"
    assert "1 of 1 orders as in the paper" in found.loc["vae", "reason"]


def test_one_fact_has_one_verdict():
    results = published({"sparse_vae": 245 + STEPS, "vae": 252.6 + STEPS})
    results = with_perplexity(Results(results.scores, results.runs, results.manifest))
    assert set(fidelity_of(results, "perplexity")["verdict"]) == {"not counted"}
    made = fake(replicates=5)
    shift = fidelity.make(made).query("artefact == 'table_2' and method == 'beta_vae'")
    assert set(shift["verdict"]) == {"not counted"} and "a VAE" in shift["reason"].iloc[0]
    for cell in made.manifest["settings"]:
        if cell["method"] == "beta_vae" and cell["dataset"] == "movielens":
            cell["params"]["beta"] = 1.0
    ones = fidelity.make(made).query("dataset == 'movielens' and method == 'beta_vae'")
    assert set(ones["verdict"]) == {"not counted"}


def test_likelihoods_are_compared_per_token():
    # 252.6 per 46.89 tokens is the same model as 247.0 per 45.85 tokens
    results = published({"vae": 252.6 * 45.85 / 46.89 + STEPS}, tokens_per_row=45.85)
    row = fidelity_of(results).loc["vae"]
    assert row["scaled_mean"] == pytest.approx(252.6)
    assert row["verdict"] == "not comparable"  # other documents than the paper's
    assert "45.85 tokens per document here, 46.89 in the paper" in row["reason"]
    perplexity = fidelity_of(results, "perplexity").loc["vae"]
    assert perplexity["mean"] == pytest.approx(math.exp(252.6 / 46.89), rel=1e-4)
    same = fidelity_of(published({"vae": 252.6 + STEPS}, tokens_per_row=46.9)).loc["vae"]
    assert same["verdict"] == "reproduced"


def test_other_data_are_never_reproduced():
    results = by_hand([175.9 + x for x in STEPS], dataset="movielens", n_rows=8762)
    row = fidelity.make(results).query("method == 'vae' and dataset == 'movielens'").iloc[0]
    assert row["verdict"] == "not comparable" and "8,762 users" in row["reason"]


def test_data_that_differ_by_design_are_never_reproduced():
    values = [0.95, 0.951, 0.949, 0.95, 0.95]
    runs = by_hand(values, metric="cell_type_accuracy", dataset="zeisel", method="sparse_vae")
    runs.scores["protocol"] = runs.runs["protocol"] = "corrected"
    row = fidelity.make(runs).query("method == 'sparse_vae' and dataset == 'zeisel'").iloc[0]
    assert row["verdict"] == "not comparable" and "held out" in row["reason"]


def test_fidelity_has_every_published_number_in_every_protocol():
    frame = make("fidelity", fake(replicates=2))
    assert len(frame) == 2 * len(read_published())
    assert not frame.duplicated(["artefact", "setting", "method", "protocol", "metric"]).any()
    assert set(make("fidelity", fake(demo_datasets()))["verdict"]) == {"not run", "not counted"}


# --- leaderboard, cost, settings, quirks -------------------------------------------------------


def test_ranks_by_hand():
    good = by_hand([1.0, 1.1, 0.9, 1.0, 1.2], method="good")
    bad = by_hand([2.0, 2.1, 1.9, 2.1, 2.0], method="bad")
    lost = by_hand([0.5], failed=4, method="lost")
    frame = leaderboard.make(together(good, bad, lost)).set_index("method")
    # one finished run of five says too little for a rank, however good it is
    assert frame["rank"].fillna(0).to_dict() == {"good": 1, "bad": 2, "lost": 0}
    assert set(frame["ranked"]) == {2}
    assert frame.loc["bad", "verdict"] == ""  # it leads its own group
    sheet = leaderboard.pretty(frame.reset_index(), together(good, bad, lost))[0]
    assert {sheet.rows[i][0] for i, _ in sheet.bold} == {"good"}


def test_metrics_meant_for_data_of_which_nothing_was_scored():
    known = {"mine": instance("mine", provides=["labels"]), "other": instance("other")}
    manifest = fake().manifest | {"datasets": known}
    manifest["metrics"] = {n: p.meta for n, p in discover("metrics").items()}
    results = Results(fake().scores.iloc[:0], fake().runs.iloc[:0], manifest)
    mine = set(leaderboard._fitting(results, "mine"))
    assert {"mse", "recon_nll", "elbo", "cell_type_accuracy"} <= mine
    assert not mine & {"mcc", "dci", "support_f1", "key_accuracy", "completion_nll", "ndcg@10"}
    assert set(leaderboard._fitting(results, "other")) > mine | {"mcc", "support_f1"}


def test_leaderboard_of_a_dataset_where_all_failed():
    frame = make("leaderboard", fake(demo_datasets(), replicates=3, everything=True))
    assert set(frame["n"]) == {0} and set(frame["failed"]) == {3}
    assert set(frame["dataset"]) == set(demo_datasets())
    assert frame["rank"].isna().all()
    sheets = leaderboard.pretty(frame, fake(demo_datasets(), replicates=3, everything=True))
    assert not any(sheet.bold for sheet in sheets)


def test_leaderboard_keeps_protocols_apart_and_controls_unranked():
    frame = make("leaderboard", fake(replicates=3))
    assert frame[frame["method"].isin(["oracle", "floor"])]["rank"].isna().all()
    for _, part in frame.groupby(["dataset", "protocol", "metric"]):
        ranks = part["rank"].dropna()
        assert len(ranks) == part["ranked"].iloc[0]
        assert set(ranks) == set(range(1, len(set(ranks)) + 1))
    assert frame["rank"].max() > 1
    assert not set(frame["method"]) & set(QUIRKS)
    printed = frame["mean"].where(frame["statistic"] == "mean", frame["median"])
    assert ((frame["low"] <= printed) & (printed <= frame["high"])).all()


def test_cost_counts_finished_runs_alone():
    results = fake(replicates=3, failures=[("zeisel", "vae", "published", 0, "oom", "")])
    frame = cost.make(results).set_index(["dataset", "method", "protocol", "metric"])
    row = frame.loc[("zeisel", "vae", "published", "seconds")]
    runs = results.runs.query("dataset == 'zeisel' and method == 'vae' and status == 'done'")
    seconds = runs[runs["protocol"] == "published"]["seconds"]
    assert (row["n"], row["failed"]) == (2, 1)
    assert row["mean"] == pytest.approx(seconds.mean())


def test_settings_beside_the_paper():
    frame = table_6.make(fake(replicates=1))
    at = frame.set_index(["dataset", "method", "protocol", "parameter"])
    width = at.loc[("peerread", "vae", "published", "n_hidden")]
    assert (width["value"], width["paper"], width["origin"]) == ("50", "100", "paper")
    penalty = at.loc[("zeisel", "sparse_vae", "published", "lambda0")]
    assert (penalty["value"], penalty["paper"], penalty["origin"]) == ("10", "10", "released code")
    assert not set(frame["method"]) & {*QUIRKS, "oracle", "floor"}


def paired(base, other, *, metric="recon_nll", **about):
    """The effect of a method on two values by replicate."""
    results = by_hand([], dataset="peerread", metric=metric, **about)
    rows = []
    for method, values in (("vae", base), ("nmf", other)):
        cell = {"dataset": "peerread", "method": method, "protocol": "published", "metric": metric}
        rows += [{**cell, "replicate": r, "value": v} for r, v in values.items()]
    results = Results(pd.DataFrame(rows, columns=SCORES), results.runs, results.manifest)
    pair = ("peerread", metric, "published", "nmf", "vae")
    (tested,) = standing.family_of_tests(results, [pair])
    return _paired.effect(results, tested)


def test_paired_effect_by_hand():
    effect = paired({0: 1.0, 1: 2.0, 2: 3.0}, {1: 5.0, 0: 2.5, 7: 9.0})
    assert (effect["base_mean"], effect["mean"], effect["n"]) == (1.5, 3.75, 2)  # 0 and 1 alone
    assert effect["difference"] == 2.25
    assert effect["effect_size"] == pytest.approx(2.25 / 0.75)
    assert effect["verdict"] == "not decided by n = 2" and math.isnan(effect["low"])
    same = paired({0: 1.0, 1: 2.0}, {0: 6.0, 1: 7.0})  # two pairs that agree decide nothing either
    assert same["verdict"] == "not decided by n = 2" and math.isnan(same["p"])
    base, other = pd.Series([1.0, 2.0]), pd.Series([2.5, 1.0])
    assert comparisons.better(base, other, "max") == 1
    assert comparisons.better(base, other, "min") == 1
    assert math.isnan(comparisons.better(base, other, None))


def test_words_of_a_comparison():
    steps = dict(enumerate([0.1, -0.1, 0.0, 0.05, -0.05]))
    base = {r: 10 + x for r, x in steps.items()}
    lower = paired(base, {r: 5 - x for r, x in steps.items()})
    assert lower["verdict"] == "better" and _paired.decided(lower)  # a likelihood, lower is better
    higher = paired(base, {r: 15 - x for r, x in steps.items()})
    assert higher["verdict"] == "worse" and _paired.decided(higher)
    rows = [
        {**e, "metric": m, "failed": 0, "base_failed": 0} for e, m in ((lower, "a"), (higher, "b"))
    ]
    sheet = render.Sheet(["Method", "a", "b"], [])
    _paired.add_effects(sheet, "NMF", pd.DataFrame(rows), ["a", "b"], {"a": 1, "b": 1})
    assert sheet.rows[0][1:] == ["-5.0 [-5.3, -4.7] better", "+5.0 [4.7, 5.3] worse"]
    assert sheet.bold == {(0, 1)}  # a win; a loss is none


@pytest.mark.parametrize(
    ("failed", "base_failed", "said"),
    [(0, 0, "not computed"), (5, 0, "failed [0/5]"), (0, 3, "failed [0/3]")],
)
def test_a_comparison_without_a_pair_says_why(failed, base_failed, said):
    nothing = paired({}, {}) | {"failed": failed, "base_failed": base_failed}
    assert _paired.effect_text(nothing, 1) == said


def test_a_quirk_without_effect_seldom_looks_decided():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        shared = rng.normal(size=25)  # the replicates' own difficulty, which pairing removes
        base, quirk = (dict(enumerate(shared + 0.1 * rng.normal(size=25))) for _ in range(2))
        found.append(_paired.decided(paired(base, quirk, resampling="draws")))
    assert np.mean(found) < 0.1  # nominal 0.05


def test_quirks_have_their_sign_and_their_values():
    frame = make("quirks", fake(replicates=25))
    at = frame[frame["dataset"] == "synthetic_rho0"].set_index(["variant", "metric"])
    assert at.loc[("quirk_kl", "mse"), "low"] > 0
    assert at.loc[("quirk_kl", "dci"), "high"] < 0
    assert tuple(at.loc[("quirk_prior", "mse"), ["was", "value"]]) == ("batch", "rows")
    assert tuple(at.loc[("quirk_scale", "mse"), ["was", "value"]]) == ("off", "on")


def test_a_quirk_that_always_fails_keeps_its_row():
    lost = [("peerread", "quirk_kl", "published", r, "diverged", "NaN") for r in range(5)]
    frame = make("quirks", fake(failures=lost))
    row = frame.query("variant == 'quirk_kl' and dataset == 'peerread'").iloc[0]
    assert (row["n"], row["failed"]) == (0, 5) and math.isnan(row["difference"])


def test_comparisons_pair_replicates_and_turn_around_with_the_direction():
    results = fake(replicates=6, quirks=False)
    frame = comparisons.make(results)
    assert "sparse_vae" not in set(frame["method"]) and not set(frame["method"]) & set(QUIRKS)
    row = frame.query("dataset == 'peerread' and method == 'vae' and metric == 'recon_nll'").iloc[0]
    scores = results.scores.query("dataset == 'peerread' and metric == 'recon_nll'")
    scores = scores[scores["protocol"] == row["protocol"]]
    table = scores.pivot_table(index="replicate", columns="method", values="value")
    difference = table["vae"] - table["sparse_vae"]
    assert row["difference"] == pytest.approx(difference.mean())
    assert (row["n"], row["better"]) == (6, (difference < 0).sum())


def test_comparisons_count_what_failed():
    lost = [("peerread", "vae", "published", r, "diverged", "NaN") for r in range(2)]
    frame = comparisons.make(fake(replicates=5, quirks=False, failures=lost))
    vae = frame.query("dataset == 'peerread' and method == 'vae' and protocol == 'published'")
    assert set(vae["n"]) == {3} and set(vae["failed"]) == {2}


# --- extracts ----------------------------------------------------------------------------------


def test_topics_rank_features_and_factors():
    results = fake(replicates=1, quirks=False)
    (run,) = [
        r
        for r in fake_runs(results, "peerread")
        if (r.record["method"], r.record["protocol"]) == ("sparse_vae", "published")
    ]
    run.loadings = np.zeros((12, 3))
    run.loadings[[4, 2, 7], 1] = [-3.0, 2.0, 1.0]  # the strongest factor, by size
    run.loadings[5, 0] = 1.5
    frame = _topics.extract([run], "peerread")
    results.extract = frame
    topics = table_3b.make(results)
    assert topics["features"].tolist()[0].startswith("feature 4; feature 2; feature 7")
    assert topics["features"].tolist()[1].startswith("feature 5")
    assert topics["features"].tolist()[2] == ""  # a factor without weight has no top words


def test_topics_come_from_the_first_replicate_of_the_right_dataset():
    results = fake(replicates=2)
    runs = [r for d in ("peerread", "peerread_shift_high") for r in fake_runs(results, d)]
    frame = catalogue.extract("table_3b", runs)
    assert set(frame["dataset"]) == {"peerread"}
    assert frame.groupby(["method", "protocol"]).size().eq(30).all()  # 3 factors x 10 features


def test_nmf_topics_are_of_nmf():
    assert set(make("table_5b", fake(replicates=1))["method"]) == {"nmf"}


def test_figure_2_matches_factors_and_picks_the_nearest_correlation():
    results = fake(replicates=2)
    runs = [r for name in results.instances("synthetic") for r in fake_runs(results, name)]
    frame = catalogue.extract("figure_2", runs)
    assert set(frame["dataset"]) == {"synthetic_rho0.8"}  # 0.4 and 0.8 are as near to 0.6
    assert set(frame["replicate"]) == {0}
    codes = frame[frame["part"] == figure_2.CODE]
    for _, part in codes.groupby(["method", "protocol", "column"]):
        assert abs(np.corrcoef(part["true"], part["value"])[0, 1]) > 0.9
    parts = frame.groupby("method")["part"].unique()
    assert figure_2.LOADING in parts["sparse_vae"] and figure_2.EFFECT in parts["vae"]


def test_zeisel_map_has_each_cell_once_and_leaves_out_constant_codes():
    results = fake(replicates=1, quirks=False)
    runs = fake_runs(results, "zeisel")[:2]
    runs[1].codes = runs[1].codes_train = np.zeros_like(runs[1].codes_train)
    frame = zeisel_map.extract(runs)
    assert set(frame["method"]) == {runs[0].record["method"]}
    assert frame["cell"].tolist() == list(range(80))
    assert frame[["x", "y"]].notna().all(axis=None)


def test_zeisel_map_has_test_cells_once_where_a_method_was_trained_on_them():
    run = fake_runs(fake(replicates=1, quirks=False), "zeisel")[0]
    run.truth.index = (np.arange(40), np.arange(5))
    run.codes = run.codes[:5]
    run.labels = {name: (train, test[:5]) for name, (train, test) in run.labels.items()}
    assert zeisel_map.extract([run])["cell"].tolist() == list(range(40))


# --- figures -----------------------------------------------------------------------------------


def test_figure_3_shows_one_variant_a_method_and_counts_failures():
    lost = [("synthetic_rho0", "vsc", "published", 1, "diverged", "NaN")]
    results = fake(replicates=4, failures=lost)
    _, frame = figure_3.make(results)
    assert set(frame["method"]) == set(METHODS) - {"nmf"}
    here = frame.query("dataset == 'synthetic_rho0' and method == 'vsc' and metric == 'mse'")
    here = here[here["protocol"] == "published"]
    assert here["status"].tolist() == ["done", "diverged", "done", "done"]
    assert here["value"].isna().tolist() == [False, True, False, False]


def test_runs_that_protocols_share_are_counted_once():
    results = fake(demo_datasets(), FEW, replicates=2, quirks=False, everything=True)
    about = results.runs[["dataset", "method", "replicate"]].astype(str)
    results.runs["digest"] = about.agg("-".join, axis=1)  # both protocols': 2 x 4 x 2 runs
    assert results.distinct_runs({"synthetic_rho0", "synthetic_rho0.8"}, set(METHODS)) == 16
    figure, _ = figure_3.make(results)
    assert "all 16 runs failed" in figure.axes[0].texts[0].get_text()


def test_figure_4_shows_the_variants_that_differ_in_the_penalty_alone():
    results = fake(replicates=2)
    assert figure_4.ladder(results) == ["sparse_vae", "sparse_vae_weak"]
    for cell in results.manifest["settings"]:
        if cell["method"] == "sparse_vae_weak":
            cell["params"]["epochs"] = 3
    assert figure_4.ladder(results) == ["sparse_vae"]


def test_a_new_method_appears_everywhere_it_fits():
    results = fake(methods=FEW | {"mine": "My method"}, replicates=2)
    for name in ("table_1a", "table_1b", "table_2", "table_3b", "table_4", "table_6"):
        assert "mine" in set(make(name, results)["method"]), name
    for name in ("leaderboard", "cost"):
        assert "mine" in set(make(name, results)["method"]), name
    for name in ("figure_3", "zeisel_map"):
        assert "mine" in set(make(name, results)[1]["method"]), name


def test_a_new_metric_and_dataset_appear_on_the_leaderboard():
    results = fake(demo_datasets() | {"mine": instance("mine")}, replicates=2)
    row = results.scores.iloc[:1].assign(dataset="mine", metric="my_metric", value=1.0)
    results.scores = pd.concat([results.scores, row], ignore_index=True)
    frame = leaderboard.make(results)
    assert "my_metric" in set(frame[frame["dataset"] == "mine"]["metric"])


def test_colours_are_fixed_for_known_methods_and_distinct():
    few = _style.colours(["vae", "pca"])
    many = _style.colours([*METHODS, "pca", "zzz"])
    assert few["vae"] == many["vae"] == _style.KNOWN["vae"]
    assert len(set(_style.colours([*_style.KNOWN, *"abcdefgh"]).values())) == 14
    assert _style.colours(["b", "a"]) == _style.colours(["a", "b"])


def test_letters_and_settings():
    assert [_style.letter(i) for i in (0, 25, 26, 27)] == ["a", "z", "aa", "ab"]
    assert [_style.rho(s) for s in ("rho0", "rho0.4", "rho-0.8", "high")] == [0, 0.4, -0.8, None]


def test_logarithmic_axis_only_where_values_span_decades():
    assert _style.needs_log([0.4, 0.5, 4e6])
    assert not _style.needs_log([0.4, 0.5, 1.0])
    assert not _style.needs_log([-1.0, 1e6]) and not _style.needs_log([])


# --- rendering ---------------------------------------------------------------------------------


def built(results, folder):
    """Build everything; return the paths by artefact."""
    paths = {}
    for name in catalogue.discover():
        results.extract = None
        make_extract = catalogue.discover()[name]["extract"]
        if make_extract:
            results.extract = pd.DataFrame(columns=[])
            plugins = catalogue.discover()[name]["datasets"]
            runs = [
                r
                for d, about in results.datasets.items()
                if about["plugin"] in plugins
                for r in fake_runs(results, d)
            ]
            results.extract = catalogue.extract(name, runs)
        paths[name] = catalogue.build(name, results, folder)
    return paths


@pytest.mark.parametrize(
    "results",
    [
        pytest.param(lambda: fake(methods=FEW, replicates=2), id="paper"),
        pytest.param(lambda: fake(demo_datasets(), replicates=1, quirks=False), id="demo"),
        pytest.param(lambda: fake(replicates=1, everything=True), id="all failed"),
        pytest.param(lambda: fake({}, replicates=1), id="empty"),
    ],
)
def test_every_artefact_is_always_built(results, tmp_path):
    for name, paths in built(results(), tmp_path).items():
        assert paths == catalogue.outputs(name, tmp_path)
        for path in paths:
            assert path.stat().st_size > 0
            if path.suffix == ".png":
                assert path.stat().st_size < 400_000


@pytest.mark.parametrize("name", ["table_1b", "quirks", "figure_3"])
def test_rebuilding_gives_the_same_bytes(name, tmp_path):
    for folder in ("one", "two"):
        catalogue.build(name, fake(demo_datasets() | QUIRKED, replicates=3), tmp_path / folder)
    for path in catalogue.outputs(name, tmp_path / "one"):
        twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == twin.read_bytes(), path.name


QUIRKED = {"peerread": paper_datasets()["peerread"]}


def test_pdf_has_no_date(tmp_path):
    figure = _style.message("nothing")
    png, pdf, table = render.write_figure(figure, pd.DataFrame({"a": [1]}), tmp_path / "f")
    assert b"CreationDate" not in pdf.read_bytes()
    assert table.read_text() == "a\n1\n"
    assert png.read_bytes().startswith(b"\x89PNG")


def test_box_data_are_complete():
    results = fake(demo_datasets(), replicates=2, quirks=False)
    frame = _boxes.collect(results, "synthetic", ["vae"], ["mse"])
    assert frame["rho"].tolist() == [0, 0, 0.8, 0.8] * 2
    assert list(frame.columns) == _boxes.COLUMNS


def test_markdown_and_latex_of_a_sheet():
    sheet = render.Sheet(["Method", "MSE"], ["Part", ["a|b & c_d", "0.5 ± 1"]], bold={(1, 1)})
    text = render.markdown([sheet], "Title", "Caption.", ["note"])
    assert "| a\\|b & c_d | **0.5 ± 1** |" in text
    assert "| **Part** |  |" in text and text.endswith("- note\n")
    tex = render.latex([sheet], "t", "Title", "50 %")
    assert r"a|b \& c\_d & \textbf{0.5 $\pm$ 1} \\" in tex
    assert r"\multicolumn{2}{l}{\emph{Part}}" in tex and r"50 \%" in tex
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 1


# --- average ranks -------------------------------------------------------------------------------


def on_datasets(scores, **about):
    """Results of one replicate: by dataset the scores of methods a, b, c, fewer are better."""
    known = {name: instance(name, label=name) | {"plugin": name} for name in scores}
    for name, more in about.items():
        known[name] |= more
    values, runs = [], []
    for name, of in scores.items():
        for method, value in zip("abc", of, strict=True):
            cell = {"dataset": name, "method": method, "protocol": "corrected", "replicate": 0}
            lost = math.isnan(value)
            runs.append({**cell, "status": "failed" if lost else "done"})
            values += [] if lost else [{**cell, "metric": "mse", "value": value}]
    manifest = {"datasets": known, "metrics": {"mse": {"label": "MSE", "direction": "min"}}}
    frames = pd.DataFrame(values, columns=SCORES), pd.DataFrame(runs, columns=RUNS)
    return Results(*frames, manifest)


def ranked(results):
    return average_ranks.make(results).query("measure == 'headline'").set_index("method")


def test_average_ranks_against_the_critical_difference():
    frame = ranked(on_datasets({f"d{i}": (1.0, 2.0, 3.0 + i) for i in range(10)}))
    assert frame["rank"].to_dict() == {"a": 1, "b": 2, "c": 3}
    assert (frame["datasets"] == 10).all() and (frame["p"] == 0).all()
    assert frame["critical_difference"].iloc[0] == pytest.approx(1.048, abs=1e-3)
    said = {"a": "", "b": "not decided by n = 10", "c": "worse"}
    assert frame["verdict"].to_dict() == said
    assert not ranked(on_datasets({f"d{i}": (1.0, 2.0, 3.0) for i in range(9)}))["verdict"].any()


def test_settings_of_a_simulator_and_instances_of_the_same_data_are_one_dataset():
    scores = {
        "d0": (1, 2, 3),
        "d1": (2, 1, 3),
        "one": (1, 3, 2),
        "two": (1, 2, 3),
        "three": (3, 2, 1),
    }
    alike = {"provides": ["factors"], "plugin": "sim"}
    frame = ranked(on_datasets(scores, one=alike, two=alike, three=alike))
    # The simulator's ranks are 1 2/3, 2 1/3 and 2, that is 1, 3 and 2.
    assert frame["rank"].to_dict() == pytest.approx({"a": 4 / 3, "b": 2, "c": 8 / 3})
    real = {"content": "ab" * 32, "provides": []}
    frame = ranked(on_datasets(scores, one=real, two=real, three=real))
    assert (frame["datasets"] == 3).all() and len(frame["names"].iloc[0].split("; ")) == 3


def test_a_method_that_always_failed_on_a_dataset_is_last_there():
    scores = {f"d{i}": (1.0, 2.0, 3.0) for i in range(3)} | {"d3": (math.nan, 2.0, 3.0)}
    frame = ranked(on_datasets(scores))
    assert frame["rank"].to_dict() == {"a": 6 / 4, "b": 7 / 4, "c": 11 / 4}


def test_too_few_datasets_or_methods_are_not_ranked():
    results = on_datasets({f"d{i}": (1.0, 2.0, 3.0) for i in range(2)})
    frame = average_ranks.make(results)
    assert frame.empty and "ran on the same 3 datasets" in frame.attrs["notes"][0]
    assert average_ranks.draw(frame, results)[1].empty
