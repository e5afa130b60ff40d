"""The table and figures of the dataset theory, from made-up results."""

from types import SimpleNamespace

import numpy as np
import pytest
from fake_results import instance
from matplotlib.colors import to_rgba

from anchorbench.reporting import catalogue
from anchorbench.reporting.artefacts import _theory
from anchorbench.reporting.results import Results

PARAMS = {"n": 2000, "n_test": 1000, "n_factors": 4, "n_features": 24, "anchors": 2}
PARAMS |= {"form": "equal", "dominance": None, "rho": 0.3, "noise": 0.3, "kind": "gaussian"}
PARAMS |= {"density": 2, "link": "linear"}
REPLICATES = 6


def cell(setting, n_latent=8, **dials):
    return instance("theory", setting, n_latent=n_latent, params={**PARAMS, **dials})


STAR = {
    "theory_base": cell("base"),
    "theory_rho_0.8": cell("rho_0.8", rho=0.8),
    "theory_n_1000": cell("n_1000", n=1000),
    "theory_n_16000": cell("n_16000", n=16000),
    "theory_form_scaled": cell("form_scaled", form="scaled"),
    "theory_link_additive": cell("link_additive", link="additive"),
    "theory_check_a0": cell("check_a0", 3, n=5000, n_factors=3, anchors=0),
    "theory_check_a1": cell("check_a1", 3, n=5000, n_factors=3, anchors=1),
    "theory_n_factors_2": cell("n_factors_2", 4, n_factors=2, n_features=12),
}
PLANE = {
    f"plane_n{n}_rho{rho}": cell(f"n{n}_rho{rho}", n=n, rho=rho)
    for n in (300, 3000)
    for rho in (0.0, 0.8)
}
LONG = {f"long_n_{n}": cell(f"n_{n}", n=n) | {"label": "Longer"} for n in (16000, 1000)}
MEANS = {"theory_base": 0.9, "theory_rho_0.8": 0.6, "theory_n_16000": 0.9, "long_n_1000": 0.85}


def results_of(datasets, failed=0):
    """LOVE on every cell, MCC as MEANS says, all else by rule; the last runs fail."""
    import pandas as pd

    scores, runs = [], []
    for name in datasets:
        for r in range(REPLICATES):
            where = {"dataset": name, "method": "love", "protocol": "corrected", "replicate": r}
            lost = r >= REPLICATES - failed
            runs.append({**where, "seed": r, "status": "failed" if lost else "done", "reason": "",
                         "seconds": 1.0, "peak_mb": 1.0, "device": "cpu", "n_parameters": 1,
                         "converged": "", "digest": f"{name}-{r}"})  # fmt: skip
            if lost:
                continue
            # What a replicate has in common cancels between cells.
            mcc = MEANS.get(name, 0.8) + 0.05 * np.sin(r) + 0.001 * (r % 2) * (name > "theory_c")
            values = {"mcc_nonlinear": mcc, "factors_found": 4 if r % 2 else 3}
            values["anchor_pairs_f1"] = 0.5
            scores += [{**where, "metric": m, "value": v} for m, v in values.items()]
    manifest = {"datasets": datasets, "methods": {"love": {"label": "LOVE"}}}
    return Results(pd.DataFrame(scores), pd.DataFrame(runs), manifest)


def test_cells_lie_on_the_dial_that_they_turn():
    found = _theory.dials({name: _theory.parameters(about) for name, about in STAR.items()})
    assert found["rho"] == {"theory_base": "0.3", "theory_rho_0.8": "0.8"}
    assert list(found["n"].values()) == ["1,000", "2,000", "16,000"]
    assert list(found["form"]) == ["theory_base", "theory_form_scaled"]
    assert found["link"] == {"theory_link_additive": "additive", "theory_base": "linear"}
    assert found["n_factors"] == {"theory_n_factors_2": "2", "theory_base": "4"}
    (checks,) = [values for dial, values in found.items() if dial.startswith("anchors (")]
    assert checks == {"theory_check_a0": "0", "theory_check_a1": "1"}
    assert _theory.dials({"plane_a": {"rho": 0.3}}) == {}


def test_the_table_has_paired_differences_and_verdicts():
    frame = catalogue.load("theory").make(results_of(STAR | PLANE))
    rows = frame[frame["metric"] == "mcc_nonlinear"].set_index("dataset")
    assert rows.index.is_unique and not set(rows.index) & set(PLANE)
    base, turned = rows.loc["theory_base"], rows.loc["theory_rho_0.8"]
    assert base["mean"] == pytest.approx(0.9 + 0.05 * np.sin(range(6)).mean(), abs=2e-3)
    assert turned["difference"] == pytest.approx(-0.3, abs=2e-3)
    assert turned["verdict"] == "worse"
    assert rows.loc["theory_n_16000", "verdict"] == "same"
    width = turned["difference_high"] - turned["difference_low"]
    assert width < 0.01 < turned["high"] - turned["low"]


def test_cells_trained_longer_are_compared_with_those_of_the_same_data():
    module, results = catalogue.load("theory"), results_of(STAR | PLANE | LONG)
    assert _theory.longer(results) == {
        "n (Longer)": {"long_n_1000": "theory_n_1000", "long_n_16000": "theory_n_16000"}
    }
    frame, alone = module.make(results), module.make(results_of(STAR | PLANE))
    long = frame["dial"] == "n (Longer)"
    np.testing.assert_array_equal(frame[~long].to_numpy(str), alone.to_numpy(str))
    rows = frame[long & (frame["metric"] == "mcc_nonlinear")].set_index("value")
    assert list(rows.index) == ["1,000", "16,000"]
    assert rows.loc["1,000", "difference"] == pytest.approx(0.05, abs=2e-3)
    assert rows.loc["16,000", "difference"] == pytest.approx(-0.1, abs=2e-3)
    assert list(rows["verdict"]) == ["better", "worse"]
    figure, _ = module.draw(frame, results)
    panels = {ax.get_title("left").replace("\n", " "): ax for ax in figure.axes}
    assert not {"n (Longer)"} & set(panels)
    lines = panels["consistency (dotted: Longer)"].lines
    dotted = [line for line in lines if line.get_linestyle() == ":"]
    np.testing.assert_allclose([line.get_xdata() for line in dotted], [[1000, 16000]])
    verdicts = catalogue.load("theory_verdict").make(results)
    assert not set(verdicts["dataset"]) & set(LONG)


def test_what_is_identified_is_measured_on_the_star_design():
    def run(name, setting, replicate, **dials):
        record = {"dataset": name, "setting": setting, "replicate": replicate, "data_seed": 3}
        return SimpleNamespace(record={**record, "dataset_params": {**PARAMS, **dials}})

    module = catalogue.load("theory")
    runs = [run("theory_base", "base", 0), run("theory_base", "base", 0)]
    runs += [run("theory_form_scaled", "form_scaled", 0, form="scaled")]
    runs += [run("plane_n300_rho0.0", "n300_rho0.0", 0)]
    frame = module.extract(runs)
    assert list(frame["dataset"]) == ["theory_base", "theory_form_scaled"]
    assert list(frame["difference"] < 1e-6) == [True, False]
    results = results_of(STAR)
    results.extract = frame
    made = module.make(results)
    says = dict(zip(made["dataset"], made["identified"], strict=True))
    assert says["theory_base"].startswith("A1-A3")
    assert says["theory_form_scaled"] == "structural sparsity"
    (sheet,) = module.pretty(made, results)
    assert sheet.rows[1][:2] == ["base", says["theory_base"]]
    shown = made[made["metric"] == "mcc_nonlinear"]
    assert len(sheet.bold) == shown["verdict"].isin(["better", "worse"]).sum() > 0


def measured(**of):
    """What decoders satisfy: (anchors, whether alike, A2's margin) of six replicates by cell."""
    rows = [
        [name, r, anchors, 0.0 if alike else 2.0, True, margins[r], 0.7, True, False]
        for name, (anchors, alike, margins) in of.items()
        for r in range(REPLICATES)
    ]
    import pandas as pd

    module = catalogue.load("theory")
    frame = pd.DataFrame(rows, columns=module.EXTRACT[:-1])
    holds = (frame["anchors"] > 1) & (frame["difference"] == 0) & (frame["a2_margin"] > 0)
    said = holds.map({True: "A1-A3, structural sparsity", False: "structural sparsity"})
    return frame.assign(identified=said)


def test_verdicts_stand_under_the_assumption_that_is_broken():
    module, results = catalogue.load("theory_verdict"), results_of(STAR | PLANE, failed=1)
    half = [0.1] * 3 + [-0.1] * 3
    results.extract = measured(
        theory_base=(2, True, half),
        theory_n_1000=(2, True, half),
        theory_form_scaled=(2, False, [-0.1] * 6),  # A1 and A2; A2 needs A1
        **{"theory_rho_0.8": (2, True, [0.1] + [-0.1] * 5)},
    )
    frame = module.make(results)
    rows = frame.set_index("dataset")
    assert rows.index.is_unique and set(rows["metric"]) == {"mcc_nonlinear"}
    assert not any(name.startswith("theory_check") for name in rows.index)  # turn several dials
    broken = rows["broken"].to_dict()
    assert broken["theory_form_scaled"] == "a1" and broken["theory_rho_0.8"] == "a2"
    assert {broken[n] for n in ("theory_base", "theory_n_1000", "theory_n_16000")} == {""}
    turned, plain = rows.loc["theory_rho_0.8"], catalogue.load("theory").make(results)
    plain = plain[plain["metric"] == "mcc_nonlinear"].set_index("dataset").loc["theory_rho_0.8"]
    assert turned["loss"] == pytest.approx(0.3, abs=2e-3) and turned["verdict"] == "worse"
    assert turned["low"] < turned["loss"] < turned["high"]
    assert (turned["low"], turned["high"]) == (-plain["difference_high"], -plain["difference_low"])
    assert (turned["p"], turned["verdict"]) == (plain["p"], plain["verdict"])
    assert (turned["a1"], turned["a2"], turned["a3"], turned["measured"]) == (6, 1, 6, 6)
    assert turned["identified"] == "structural sparsity 6/6, A1-A3 1/6"

    (sheet,) = module.pretty(frame, results)
    heads = [row for row in sheet.rows if isinstance(row, str)]
    assert heads[0].startswith("The base cell") and heads[1].startswith("A1 broken")
    assert heads[2].startswith("A2 true of fewer") and heads[3].startswith("Nothing broken")
    at = sheet.rows.index(heads[2]) + 1
    assert sheet.rows[at][:2] == ["rho 0.8", "A1 6/6, A2 1/6, A3 6/6"]
    assert sheet.rows[at][3].startswith("+0.30 [") and sheet.rows[at][3].endswith("[5/6] worse")
    assert (at, 3) in sheet.bold
    assert sheet.rows[1][3].startswith("0.9")  # the base cell's own


def test_verdicts_without_measured_assumptions_say_so():
    module = catalogue.load("theory_verdict")
    made = module.make(results_of(STAR))
    assert made.attrs["notes"] == ["Which assumptions hold is not measured yet."]
    assert len(made) > 3 and set(made["broken"]) == {""}
    assert module.make(results_of({"theory_x": cell("x")})).empty


def test_figures_are_drawn_from_full_and_from_no_results(tmp_path):
    for datasets in (STAR | PLANE, {"theory_base": STAR["theory_base"]}, {}):
        results = results_of(datasets) if datasets else results_of({"theory_x": cell("x")})
        for name in ("theory", "theory_anchors"):
            paths = catalogue.build(name, results, tmp_path)
            assert all(path.stat().st_size for path in paths)
    results = results_of(STAR | PLANE)
    module = catalogue.load("theory")
    figure, _ = module.draw(module.make(results), results)
    panels = {ax.get_title("left"): ax for ax in figure.axes if ax.get_title("left")}
    assert {"rho", "n", "form", "link", "consistency", "LOVE"} <= set(panels)
    assert len(panels["rho"].lines) == 3  # one method, and two lines of reference
    shares = panels["LOVE"].images[0].get_array()
    np.testing.assert_allclose(np.asarray(shares), 0.5)
    assert to_rgba(panels["LOVE"].lines[0].get_color()) == to_rgba("white")


def test_planes_count_a_lost_run_as_one_that_found_less():
    results = results_of(STAR | PLANE, failed=2)
    module = catalogue.load("theory")
    figure, _ = module.draw(module.make(results), results)
    (plane,) = [ax for ax in figure.axes if ax.get_title("left") == "LOVE"]
    found = sum(r % 2 for r in range(REPLICATES - 2)) / REPLICATES
    np.testing.assert_allclose(np.asarray(plane.images[0].get_array()), found)


def test_a_run_that_found_no_anchors_counts_zero():
    _, frame = catalogue.load("theory_anchors").make(results_of(PLANE, failed=2))
    assert len(frame) == 4 and (frame["failed"] == 2).all()
    np.testing.assert_allclose(frame["mean"], 0.5 * 4 / 6)
    assert set(frame["design"]) == {"all cells"}


def test_cells_in_which_planes_cross_are_drawn_once():
    crossing = {"plane_again": cell("again", n=300, rho=0.8)}
    _, frame = catalogue.load("theory_anchors").make(results_of(PLANE | crossing))
    assert len(frame) == len(PLANE) and not frame.duplicated(["design", "method", "rho", "n"]).any()


def test_the_predicted_number_of_rows():
    assert _theory.rows_needed(0.8, 24) == pytest.approx(114, abs=1)
    assert _theory.rows_needed(0.95, 24) == pytest.approx(1830, abs=2)


def test_what_is_not_decided_names_the_number_of_pairs():
    results = results_of(STAR)
    base = results.scores["dataset"] == "theory_base"
    noise = np.where(base, np.tile([0.3, -0.3], len(base))[: len(base)], 0.0)
    scores = results.scores.assign(value=results.scores["value"] + noise)
    scores = scores[~base | (scores["replicate"] < 4)]
    frame = catalogue.load("theory").make(Results(scores, results.runs, results.manifest))
    row = frame.set_index(["dataset", "metric"]).loc[("theory_n_16000", "mcc_nonlinear")]
    assert (row["n"], row["pairs"], row["verdict"]) == (REPLICATES, 4, "not decided by n = 4")
