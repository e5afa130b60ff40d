"""Tables and figures of questionnaires, from made-up results and loadings."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fake_results import describe, instance

from anchorbench.reporting import catalogue
from anchorbench.reporting.results import Results

METHODS = {"pca": "PCA", "pca_varimax": "PCA + varimax", "vae": "VAE", "floor": "Floor"}
ACCURACY = {"pca": 0.3, "pca_varimax": 0.95, "vae": 0.4, "floor": 0.0}
SCALES, ITEMS = 3, 4


def questionnaire(setting, n_latent=SCALES, **params):
    about = {"set": setting, "rows": None, **params}
    more = {"resampling": "folds", "n_rows": 1000, "n_features": 12, "headline": "key_accuracy"}
    return instance("questionnaire", setting, n_latent=n_latent, params=about, **more)


SETS = {"questionnaire_spi": questionnaire("spi"), "questionnaire_bfi": questionnaire("bfi")}


def results_of(datasets, accuracy=ACCURACY, lost=()):
    """Five folds of every method; what is in `lost` failed."""
    scores, runs = [], []
    for name in datasets:
        for method, level in accuracy.items():
            for r in range(5):
                where = {"dataset": name, "method": method, "protocol": "corrected"}
                where["replicate"] = r
                done = (name, method, r) not in lost
                runs.append({**where, "seed": r, "status": "done" if done else "failed",
                             "reason": "", "seconds": 2.0 + r, "peak_mb": 1.0, "device": "cpu",
                             "n_parameters": 1, "converged": "yes", "digest": f"{r}"})  # fmt: skip
                if done:
                    values = {"key_accuracy": level, "key_congruence": level / 2}
                    values |= {"mse": 1.2 - level, "code_stability": level / 3}
                    noise = 0.004 * (r - 2)
                    scores += [
                        {**where, "metric": m, "value": v + noise} for m, v in values.items()
                    ]
    manifest = {
        "datasets": datasets,
        "methods": {m: describe(m, label) for m, label in METHODS.items()},
        "metrics": {
            "key_recovery": {
                "label": "Key recovery",
                "direction": "max",
                "range": [0, 1],
                "values": {"key_accuracy": "Key accuracy", "key_congruence": "Key congruence"},
            },
            "mse": {"label": "MSE", "direction": "min", "range": [0, None]},
            "code_stability": {
                "label": "Stability",
                "direction": "max",
                "range": [0, 1],
                "needs": ["codes", "peers"],
            },
        },
    }
    return Results(pd.DataFrame(scores), pd.DataFrame(runs), manifest)


# The table ----------------------------------------------------------------------------------------


def test_the_table_has_every_measure_of_every_set_with_its_rank():
    results = results_of(SETS, lost={("questionnaire_spi", "vae", 4)})
    module = catalogue.load("questionnaire")
    frame = module.make(results)
    assert set(frame["metric"]) == {*module.SCORED, "seconds"}
    spi = frame[frame["dataset"] == "questionnaire_spi"].set_index(["metric", "method"])
    best, vae = spi.loc["key_accuracy", "pca_varimax"], spi.loc["key_accuracy", "vae"]
    assert (best["rank"], best["mean"]) == (1, pytest.approx(0.95))
    assert np.isnan(vae["rank"]) and (vae["n"], vae["failed"]) == (4, 1)  # it lost a run
    bfi = frame[frame["dataset"] == "questionnaire_bfi"].set_index(["metric", "method"])
    assert bfi.loc["key_accuracy", "vae"]["rank"] > 1
    # Folds share training rows: the interval is 1.5 times as wide as that of independent draws.
    half = 2.7764 * np.std([-2, -1, 0, 1, 2], ddof=1) * 0.004 * np.sqrt(1 / 5 + 1 / 4)
    assert best["high"] - best["mean"] == pytest.approx(half, rel=1e-3)
    assert spi.loc["seconds", "pca"]["mean"] == pytest.approx(4.0)
    assert np.isnan(spi.loc["key_accuracy", "floor"]["rank"])

    overview, *sets = module.pretty(frame, results)
    assert overview.columns == ["Method", "spi", "rank", "bfi", "rank"]
    assert [row[0] for row in overview.rows] == ["VAE", "PCA", "PCA + varimax", "Floor"]
    assert overview.bold == {(2, 1), (2, 3)} and overview.rows[2][2] == "1"
    assert [sheet.title for sheet in sets] == ["spi, corrected", "bfi, corrected"]
    assert sets[0].columns[-4:] == ["Held-out MSE", "rank", "Agreement of folds", "Seconds"]
    assert "[4/5]" in sets[0].rows[0][1] and "[4/5]" in sets[0].rows[0][-1]


def test_the_caption_says_whom_the_scales_favour():
    for name in ("questionnaire", "keys_map", "keys_by_n"):
        assert (
            "The scales were themselves found by factor analysis with rotations, which favours "
            "methods of linear simple structure."
        ) in catalogue.discover()[name]["caption"]


def test_the_figure_has_a_panel_a_set_and_the_best_on_top():
    results = results_of(SETS)
    module = catalogue.load("questionnaire")
    figure, shown = module.draw(module.make(results), results)
    assert [ax.get_title("left") for ax in figure.axes] == ["spi", "bfi"]
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["PCA + varimax", "VAE", "PCA", "Floor"]
    assert set(shown["metric"]) == {"key_accuracy"}


def test_other_datasets_of_the_plugin_are_no_rows_of_the_table():
    more = {"keys_by_n_spi_n500": questionnaire("spi_n500", set="spi", rows=500)}
    frame = catalogue.load("questionnaire").make(results_of(SETS | more))
    assert set(frame["dataset"]) == set(SETS)


# Loadings by key ----------------------------------------------------------------------------------


def run_of(method, set_="spi", replicate=0, setting=None, seed=0, loadings=True, **params):
    """A run whose factors are the scales in another order, two of them turned, and one more."""
    rng = np.random.default_rng(seed)
    scale = np.array([2, 0, 1] * ITEMS)  # items are mixed, as questionnaires have them
    sign = rng.choice([-1, 1], len(scale))
    keys = np.eye(SCALES)[scale] * sign[:, None]
    codes = rng.normal(size=(400, SCALES + 1))
    own = keys[:, [1, 2, 0]] * np.array([-0.8, 0.6, -0.7])  # scale of each factor: 1, 2, 0
    own = np.hstack([own[:, :1], np.full((len(scale), 1), 0.1), own[:, 1:]])
    X = codes @ own.T + 0.3 * rng.normal(size=(400, len(scale)))
    setting = setting or set_
    record = {"dataset": f"questionnaire_{setting}", "setting": setting, "method": method}
    record |= {"protocol": "corrected", "replicate": replicate}
    record |= {"dataset_params": {"set": set_, "rows": None, **params}}
    return SimpleNamespace(
        record=record,
        truth=SimpleNamespace(keys=keys),
        codes=codes,
        test=X,
        loadings=own if loadings else None,
        features=[f"item {j}" for j in range(len(scale))],
        data=SimpleNamespace(dataset=SimpleNamespace(arrays={"scales": np.array(["a", "b", "c"])})),
    )


def test_loadings_are_kept_in_the_keys_order_and_sign():
    frame = catalogue.load("keys_map").extract([run_of("pca")])
    assert list(frame["scale"]) == ["a"] * ITEMS + ["b"] * ITEMS + ["c"] * ITEMS
    assert list(frame["feature"][:2]) == ["item 1", "item 4"]
    factors = frame[[f"factor_{k}" for k in (1, 2, 3, 4)]].to_numpy()
    turned = factors * frame["sign"].to_numpy()[:, None]
    blocks = np.kron(np.eye(SCALES), np.ones((ITEMS, 1))) > 0
    assert (turned[:, :3][blocks] > 0.8).all()
    assert not turned[:, :3][~blocks].any()
    assert (np.abs(factors[:, 3]) < 0.2).all() and factors[:, 3].all()  # left over, behind
    np.testing.assert_array_equal(factors, factors.round(2))


def test_a_scale_without_a_factor_has_an_empty_column():
    run = run_of("pca")
    run.loadings, run.codes = run.loadings[:, :1], run.codes[:, :1]
    frame = catalogue.load("keys_map").extract([run])
    assert frame["factor_2"].notna().all()
    assert frame[["factor_1", "factor_3"]].isna().all(axis=None)


def test_the_first_fold_of_the_preferred_set_with_all_its_rows_is_kept():
    module = catalogue.load("keys_map")
    other = run_of("vae", setting="n500", rows=500)
    other.record["dataset"] = "keys_by_n_n500"
    runs = [run_of("pca", "bfi"), run_of("pca", replicate=3), run_of("pca", replicate=1), other]
    runs += [run_of("nmf"), run_of("vae", loadings=False)]
    frame = module.extract(runs)
    assert set(frame["dataset"]) == {"questionnaire_spi"} and set(frame["method"]) == {"pca"}
    assert set(frame["replicate"]) == {1}
    assert module.extract([run_of("nmf")]).empty and module.extract([]).empty
    assert set(module.extract(runs[:1])["dataset"]) == {"questionnaire_bfi"}


def test_the_map_has_a_panel_a_method_with_its_accuracy(tmp_path):
    module, results = catalogue.load("keys_map"), results_of(SETS)
    figure, shown = module.make(results)
    assert shown.empty and figure.axes[0].texts[0].get_text() == module.NOTHING
    few = run_of("pca")
    few.loadings, few.codes = few.loadings[:, :1], few.codes[:, :1]
    frame = module.extract([run_of("vae"), run_of("pca_varimax", seed=1), few])
    old = module.extract([run_of("vae", "bfi")])  # of an earlier reference
    results.extract = pd.concat([old, frame], ignore_index=True)
    figure, shown = module.make(results)
    titles = [ax.get_title("left").replace("\n", " ") for ax in figure.axes]
    assert titles == ["PCA accuracy 0.29", "PCA + varimax accuracy 0.94", "VAE accuracy 0.39"]
    assert set(shown["dataset"]) == {"questionnaire_spi"}
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["a", "b", "c"]
    shades = [ax.collections[0].get_array().reshape(12, -1) for ax in figure.axes]
    assert [s.shape[1] for s in shades] == [3, 4, 4]
    assert np.abs(shades[1]).max() == 1 and (shades[1][:4, 0] > 0).all()
    assert not shades[0][:, [0, 2]].any()
    assert all(path.stat().st_size for path in catalogue.build("keys_map", results, tmp_path))


# By rows and latent factors -----------------------------------------------------------------------

BY_N = {
    f"keys_by_n_n{n}": questionnaire(f"n{n}", set="spi", rows=n, n_latent=SCALES)
    for n in (500, 100, 200)
} | {f"keys_by_n_k{k}": questionnaire(f"k{k}", n_latent=k, set="spi") for k in (2, 5)}


def test_accuracy_stands_at_its_rows_and_latent_factors():
    module = catalogue.load("keys_by_n")
    results = results_of(SETS | BY_N)
    alone = results.scores["method"].eq("floor") & ~results.scores["dataset"].isin(SETS)
    results.scores = results.scores[~alone]  # run on the whole sets alone
    figure, frame = module.make(results)
    at = {dial: sorted(set(part["at"])) for dial, part in frame.groupby("dial")}
    assert at == {"rows": [100, 200, 500, 800], "n_latent": [2, 3, 5]}
    assert set(frame["method"]) == {"pca", "pca_varimax", "vae"}
    ends = frame[frame["at"].isin([800, 3])]
    assert set(ends["dataset"]) == {"questionnaire_spi"}
    rows, latent = figure.axes
    assert rows.get_xscale() == "log" and latent.get_xscale() == "linear"
    line = next(one for one in rows.lines if len(one.get_xdata()) == 4)
    assert list(line.get_xdata()) == [100, 200, 500, 800]


def test_without_several_sizes_the_figure_says_so(tmp_path):
    module = catalogue.load("keys_by_n")
    for datasets in (SETS, {"synthetic_x": instance("synthetic", "x")}):
        figure, frame = module.make(results_of(datasets))
        assert frame.empty and figure.axes[0].texts[0].get_text() == module.NOTHING
    one = {name: BY_N[name] for name in ("keys_by_n_n100", "keys_by_n_n200")}
    assert all(p.stat().st_size for p in catalogue.build("keys_by_n", results_of(one), tmp_path))
