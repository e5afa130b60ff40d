"""The plan: what runs, with which parameters and seeds, and what its digests depend on."""

import shutil
from pathlib import Path

import pytest

from anchorbench.study import config, plan, plugins, source
from anchorbench.study.config import ConfigError
from anchorbench.study.jobs import run_digest, seeds
from anchorbench.study.plugins import PluginError
from anchorbench.study.protocols import PROTOCOLS, in_epochs

METHOD = """
METHOD = {{
    "label": "Toy", "likelihoods": ["gaussian"], "params": {{"width": 1, "epochs": 9, "free": 0}},
    "protocols": {protocols},
    "settings": {{"toydata": {{"free": 5, "corrected": {{"width": 4}}}}}},
}}
def build(likelihood, n_latent, seed, **params):
    raise NotImplementedError
"""
DATASET = """
DATASET = {"label": "Toy", "likelihood": "gaussian", "sources": [], "replicates": 4,
           "params": {"rho": 0.0, "size": 10}}
def prepare(raw, size):
    raise NotImplementedError
def split(dataset, replicate, seed, rho):
    raise NotImplementedError
"""


@pytest.fixture
def root(tmp_path):
    for kind in plugins.METADATA:
        (tmp_path / kind).mkdir()
    two = '{"published": {"width": 2}, "corrected": {"width": 3}}'
    (tmp_path / "methods" / "two.py").write_text(METHOD.format(protocols=two))
    (tmp_path / "methods" / "one.py").write_text(METHOD.format(protocols="{}"))
    (tmp_path / "datasets" / "toydata.py").write_text(DATASET)
    plugins._discover.cache_clear()
    return tmp_path


def make(root: Path, **keys: object) -> plan.Plan:
    plugins._discover.cache_clear()
    source.clear()
    return plan.make(config.merge(config.DEFAULTS, keys), root)


def test_parameters_follow_the_stated_order(root):
    made = make(root, datasets={"toydata": {"training": {"epochs": 2, "n_hidden": 8}}})
    params = {job.tag: job.params for job in made.jobs if job.variant.name == "two"}
    assert params["published"] == {"width": 2, "epochs": 2, "free": 5}
    assert params["corrected"] == {"width": 4, "epochs": 2, "free": 5}


def test_steps_take_the_place_of_epochs_and_the_last_word_counts(root):
    stepped = METHOD.replace('"epochs": 9', '"epochs": 9, "batch_size": 30')
    (root / "methods" / "three.py").write_text(stepped.format(protocols="{}"))
    settings = {"long": {"rho": 0.1, "training": {"steps": 3000}}, "short": {"n_latent": 7}}
    entry = {"settings": settings, "n_latent": 4, "training": {"steps": 100}}
    variants = {"own": {"method": "three", "params": {"epochs": 2}, "protocols": ["published"]}}
    made = make(root, datasets={"toydata": entry}, variants=variants)
    params = {job.key[:2]: job.params for job in made.jobs if job.tag != "corrected"}
    assert params["toydata_long", "three"] == {
        "width": 1, "batch_size": 30, "free": 5, "steps": 3000,
    }  # fmt: skip
    assert params["toydata_short", "three"]["steps"] == 100
    assert params["toydata_short", "own"] == {"width": 1, "batch_size": 30, "free": 5, "epochs": 2}
    assert params["toydata_short", "two"]["epochs"] == 9  # it has no batches to count
    assert [made.instances[f"toydata_{s}", "shared"].n_latent for s in settings] == [4, 7]
    with pytest.raises(ConfigError, match="epochs and steps: keep one"):
        make(root, datasets={"toydata": {"training": {"epochs": 1, "steps": 1}}})


@pytest.mark.parametrize(("rows", "epochs"), [(2000, 150), (2001, 150), (1999, 151), (10**6, 1)])
def test_steps_are_rounded_up_to_whole_epochs(rows, epochs):
    made = in_epochs({"steps": 3000, "batch_size": 100, "width": 1}, rows)
    assert made == {"batch_size": 100, "width": 1, "epochs": epochs}


def test_paired_settings_draw_their_data_with_one_seed(root):
    settings = {"a": {"rho": 0.1}, "b": {"rho": 0.2}}
    for paired in (False, True):
        text = DATASET.replace('"sources"', f'"paired_settings": {paired}, "sources"')
        (root / "datasets" / "toydata.py").write_text(text)
        made = make(root, datasets={"toydata": {"settings": settings}}, methods=["one"])
        jobs = [made.find(f"toydata_{s}", "one", "published")[0] for s in settings]
        data, fit = zip(*(seeds(job, 3, 0) for job in jobs), strict=True)
        assert (data[0] == data[1]) is paired and fit[0] != fit[1]
        assert len({seeds(jobs[0], r, 0)[0] for r in range(4)}) == 4


def test_variant_parameters_win_and_unknown_ones_are_refused(root):
    made = make(root, variants={"wide": {"method": "two", "params": {"width": 99}}})
    jobs = [job for job in made.jobs if job.variant.name == "wide"]
    assert {job.params["width"] for job in jobs} == {99}
    with pytest.raises(ConfigError, match="no parameter 'widht'; did you mean 'width'"):
        make(root, variants={"wide": {"method": "two", "params": {"widht": 99}}})
    with pytest.raises(ConfigError, match="no 'tow'; did you mean 'two'"):
        make(root, variants={"wide": {"method": "tow"}})
    with pytest.raises(ConfigError, match="no 'twoo'; did you mean 'two'"):
        make(root, methods=["twoo"])


def quirky(root: Path) -> None:
    """A method of three quirks, one of which concerns counts alone, and a second dataset."""
    text = METHOD.replace('["gaussian"]', '["gaussian", "multinomial"]').replace(
        '"settings": {{"toydata": {{"free": 5, "corrected": {{"width": 4}}}}}},',
        '"quirks": {{"width": ["gaussian", "multinomial"], "epochs": ["multinomial"], '
        '"free": ["gaussian"]}},',
    )
    protocols = '{"published": {"width": 2, "free": 6}, "corrected": {"epochs": 3}}'
    (root / "methods" / "quirky.py").write_text(text.format(protocols=protocols))
    counts = DATASET.replace('"gaussian"', '"multinomial"')
    (root / "datasets" / "counts.py").write_text(counts)


def test_quirks_are_switched_one_at_a_time_in_both_directions(root):
    quirky(root)
    made = make(root, quirks={"quirky": {"datasets": ["toydata", "counts"], "replicates": 2}})
    own = {
        "published": {"width": 2, "epochs": 9, "free": 6},
        "corrected": {"width": 1, "epochs": 3, "free": 0},
    }
    jobs = [job for job in made.jobs if job.variant.quirk]
    switched = {"toydata": ("width", "free"), "counts": ("width", "epochs")}
    assert {(job.instance.name, job.variant.name) for job in jobs} == {
        (dataset, f"quirky_{start}_{parameter}")
        for dataset, parameters in switched.items()
        for parameter in parameters
        for start in own
    }
    for job in jobs:
        start, other = job.protocols[0], ({*own} - {*job.protocols}).pop()
        parameter = job.variant.name.removeprefix(f"quirky_{start}_")
        value = own[other][parameter]
        assert job.params == {**own[start], parameter: value}
        assert job.variant.quirk == {"from": start, "parameter": parameter, "value": value}
        assert job.variant.label == f"Toy, {start} but {parameter} = {value}"
        assert (job.tag, job.replicates) == (start, (0, 1))
        (base,) = made.find(job.instance.name, "quirky", start)
        assert (base.params, base.replicates) == (own[start], (0, 1, 2, 3))
        assert seeds(base, 0, 0)[0] == seeds(job, 0, 0)[0]


def test_quirks_keep_to_their_datasets_replicates_and_protocols(root):
    quirky(root)
    settings = {"a": {"rho": 0.1}, "b": {"rho": 0.2}}
    entry = {"datasets": ["toydata_b", "counts"], "replicates": {"toydata_b": 3, "counts": 99}}
    datasets = {"toydata": {"settings": settings}}
    made = make(root, datasets=datasets, quirks={"quirky": entry}, protocols=["published"])
    jobs = [job for job in made.jobs if job.variant.quirk]
    assert {(job.instance.name, len(job.replicates)) for job in jobs} == {
        ("toydata_b", 3),
        ("counts", 4),
    }
    assert {job.tag for job in jobs} == {"published"}
    assert not [job for job in make(root).jobs if job.variant.quirk]
    with pytest.raises(ConfigError, match="no 'quirkee'; did you mean 'quirky'"):
        make(root, quirks={"quirkee": entry})
    with pytest.raises(ConfigError, match="no 'toydata_c'; did you mean 'toydata_"):
        make(root, datasets=datasets, quirks={"quirky": {"datasets": ["toydata_c"]}})


def test_protocols_that_mean_the_same_are_trained_once(root):
    text = METHOD.replace(
        '"settings": {{"toydata": {{"free": 5, "corrected": {{"width": 4}}}}}},', ""
    )
    (root / "methods" / "one.py").write_text(text.format(protocols="{}"))
    made = make(root)
    assert {j.tag for j in made.jobs if j.variant.name == "one"} == {"shared"}
    assert {j.tag for j in made.jobs if j.variant.name == "two"} == {"published", "corrected"}
    assert made.find("toydata", "one", "published") == made.find("toydata", "one", "shared")


def test_blocks_cover_all_replicates_and_leave_runs_alone(root):
    for block in (1, 3, 25):
        jobs = make(root, block=block, methods=["two"]).find("toydata", "two", "published")
        assert [r for job in jobs for r in job.replicates] == [0, 1, 2, 3]
        digests = [run_digest(job, r) for job in jobs for r in job.replicates]
        drawn = [seeds(job, r, 0) for job in jobs for r in job.replicates]
        if block == 1:
            first = digests, drawn
        assert (digests, drawn) == first
    assert len(set(digests)) == 4


def test_settings_share_prepared_data_where_prepare_does_not_differ(root):
    settings = {"a": {"rho": 0.1}, "b": {"rho": 0.2}, "c": {"size": 20}}
    made = make(root, datasets={"toydata": {"settings": settings}})
    keys = {name: instance.data_key for (name, _), instance in made.instances.items()}
    assert keys["toydata_a"] == keys["toydata_b"] != keys["toydata_c"]
    digests = {run_digest(job, 0) for job in made.jobs}
    assert len(digests) == len(made.jobs)


def test_adding_a_method_moves_nothing_and_editing_one_moves_it_alone(root):
    before = {job.key: (job.recipe, seeds(job, 0, 0)) for job in make(root).jobs}
    shutil.copy(root / "methods" / "one.py", root / "methods" / "three.py")
    after = {job.key: (job.recipe, seeds(job, 0, 0)) for job in make(root).jobs}
    assert before.items() <= after.items() and len(after) > len(before)
    path = root / "methods" / "two.py"
    path.write_text(path.read_text().replace("NotImplementedError", "ValueError"))
    edited = {job.key: (job.recipe, seeds(job, 0, 0)) for job in make(root).jobs}
    assert {key[1] for key in after if after[key] != edited[key]} == {"two"}


def test_skipped_methods_are_left_out_and_dropped_in_ones_are_not(root):
    (root / "methods" / "mine.py").write_text(METHOD.format(protocols="{}"))
    made = make(root, skip_methods=["two"])
    assert {job.variant.name for job in made.jobs} == {"one", "mine"}
    with pytest.raises(ConfigError, match="no 'twoo'; did you mean 'two'"):
        make(root, skip_methods=["twoo"])


def test_a_setting_may_have_its_own_factors_and_training(root):
    settings = {"a": {"rho": 0.1, "n_latent": 7}, "b": {"training": {"epochs": 3}}}
    entry = {"settings": settings, "n_latent": 2, "training": {"epochs": 2}}
    made = make(root, datasets={"toydata": entry}, methods=["one"])
    own = {n: (i.n_latent, i.training["epochs"]) for (n, _), i in made.instances.items()}
    assert own == {"toydata_a": (7, 2), "toydata_b": (2, 3)}
    assert made.instances["toydata_a", "shared"].params == {"rho": 0.1, "size": 10}
    assert {job.params["epochs"] for job in made.jobs} == {2, 3}


@pytest.fixture(scope="module")
def paper():
    return plan.make(config.load([plugins.SUITE / "config" / "paper.yaml"]))


def test_published_movielens_feeds_raw_rows_to_every_encoder_and_nothing_else_does(paper):
    scaling = {
        (job.instance.plugin, job.variant.name, tag): job.params["input_scaling"]
        for job in paper.jobs
        for tag in job.protocols
        if "input_scaling" in job.params
    }
    raw = {key for key, value in scaling.items() if value == "none"}
    deep = {name for dataset, name, _ in scaling if dataset == "movielens"}
    assert deep >= {"vae", "beta_vae", "sparse_vae", "oi_vae", "vsc"}
    assert raw == {("movielens", name, "published") for name in deep}
    assert {scaling["movielens", name, "corrected"] for name in deep} == {"row_sum"}


def test_every_quirk_of_the_study_changes_one_parameter_to_the_other_protocols(paper):
    jobs = [job for job in paper.jobs if job.variant.quirk]
    assert {job.instance.name for job in jobs} == {
        "synthetic_rho0.0", "synthetic_rho0.4", "synthetic_rho0.8", "peerread",
    }  # fmt: skip
    opposite = dict(zip(PROTOCOLS, PROTOCOLS[::-1], strict=True))
    for job in jobs:
        where = job.instance.name, job.variant.plugin.name
        own, other = (paper.find(*where, t)[0].params for t in (job.tag, opposite[job.tag]))
        changed = {name for name in own if job.params[name] != own[name]}
        assert changed == {job.variant.quirk["parameter"]}, job.variant.name
        assert all(job.params[name] == other[name] for name in changed)


def test_datasets_without_their_sources_are_left_out_or_refused(root):
    text = DATASET.replace('"sources": []', '"sources": ["far"]')
    (root / "datasets" / "remote.py").write_text(text)
    assert {i.name for i in make(root).instances.values()} == {"toydata"}
    with pytest.raises(ConfigError, match=r"datasets\.remote needs the source 'far'"):
        make(root, datasets={"remote": {}})
    with pytest.raises(ConfigError, match="nothing to run"):
        make(root, datasets={"toydata": False})


def test_a_skipped_metric_is_left_out_of_its_dataset_alone(root):
    for name in ("fast", "slow"):
        text = f'METRIC = {{"label": "{name}", "direction": "max"}}\n'
        (root / "metrics" / f"{name}.py").write_text(text)
    datasets = {"toydata": {"settings": {"a": {}}}, "other": {"plugin": "toydata"}}
    before = make(root, datasets=datasets)
    skipping = {**datasets, "toydata": {**datasets["toydata"], "skip_metrics": ["slow"]}}
    after = make(root, datasets=skipping)
    for dataset, wanted in (("toydata_a", {"fast"}), ("other", {"fast", "slow"})):
        then, now = (made.find(dataset, "one", "published") for made in (before, after))
        assert set(after.metrics_of(now[0].instance)) == wanted
        same = before.score_digest(then) == after.score_digest(now)
        assert same == (dataset == "other")
    assert [job.recipe for job in after.jobs] == [job.recipe for job in before.jobs]
    skipping["toydata"]["skip_metrics"] = ["slwo"]
    with pytest.raises(ConfigError, match=r"toydata_a\.skip_metrics: .* did you mean 'slow'"):
        make(root, datasets=skipping)


def test_discovery_reports_a_broken_plugin_and_passes_over_helpers(root):
    (root / "methods" / "_helper.py").write_text("x = 1")
    (root / "methods" / "syntax.py").write_text("METHOD = {")
    (root / "methods" / "computed.py").write_text("METHOD = {'label': 1 + f()}")
    plugins._discover.cache_clear()
    found = plugins.discover("methods", root)
    assert "_helper" not in found
    assert "not valid Python" in (found["syntax"].broken or "")
    assert "literal dict" in (found["computed"].broken or "")
    with pytest.raises(PluginError, match="literal dict"):
        plugins.load(found["computed"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rope": {"mcd": 0.1}}, "rope: there is no 'mcd'; did you mean 'mcc'"),
        ({"contrasts": [["vae", "vea"]]}, "contrasts: there is no 'vea'; did you mean 'vae'"),
        ({"contrasts": [["vae", "vae"]]}, r"contrasts: \[vae, vae\] is a method and itself"),
        (
            {"contrasts": [["vae", "nmf"], ["nmf", "vae"]]},
            r"contrasts: \[nmf, vae\] is there twice",
        ),
        ({"datasets": {"synthetic": {"headline": "ms"}}}, "synthetic.headline: there is no 'ms'"),
        (
            {"datasets": {"synthetic": {"headline": {"publishd": "mse"}}}},
            "synthetic.headline",
        ),
        (
            {
                "datasets": {
                    "synthetic": {
                        "headline": "active_factors",
                        "tuning": {"trials": 2, "methods": ["vae"]},
                    }
                }
            },
            "headline 'active_factors' has no better side",
        ),
    ],
)
def test_metrics_and_methods_that_statistics_name_must_exist(change, complaint):
    with pytest.raises(ConfigError, match=complaint):
        plan.make(config.load([], {"datasets": {"synthetic": {}}, **change}))


def test_datasets_say_how_they_are_judged(tmp_path):
    rows = "\n".join(["x,y,kind", *(f"{i},{i * i},{i % 2}" for i in range(20))])
    (tmp_path / "mine.csv").write_text(rows)
    mine = {"file": str(tmp_path / "mine.csv"), "likelihood": "gaussian", "labels": ["kind"]}
    made = plan.make(
        config.load([], {"datasets": {"mine": mine, "synthetic": {"headline": {"tuned": "mse"}}}})
    )
    of_mine, synthetic = (made.instances[n, "shared"] for n in ("mine", "synthetic"))
    assert (of_mine.resampling, of_mine.headline, of_mine.class_name) == ("folds", None, "kind")
    assert (synthetic.resampling, synthetic.headline) == ("draws", {"tuned": "mse"})


def job_of_splits(replicates, repeats):
    """The job of a study of so many splits, each fitted so often."""
    synthetic = {"replicates": replicates, "repeats": repeats}
    datasets = {"synthetic": synthetic, "simulated_counts": False}
    settings = {"datasets": datasets, "methods": ["nmf"], "protocols": ["corrected"]}
    (job,) = plan.make(config.merge(config.DEFAULTS, settings)).jobs
    return job


def test_a_repeat_is_not_the_replicate_of_that_number_of_more_splits():
    """Replicate 3 is of split 1 where two splits have repeats, and of split 3 of four."""
    repeated, more = job_of_splits(2, 2), job_of_splits(4, 1)
    assert repeated.recipe == more.recipe
    for replicate in range(4):
        same = seeds(repeated, replicate, 0) == seeds(more, replicate, 0)
        alike = run_digest(repeated, replicate) == run_digest(more, replicate)
        assert same == alike == (replicate < 2)


def test_repeats_share_data_and_those_of_one_begin_those_of_three():
    once, thrice = job_of_splits(2, 1), job_of_splits(2, 3)
    assert once.replicates == (0, 1) and thrice.replicates == tuple(range(6))
    for replicate in once.replicates:
        assert run_digest(once, replicate) == run_digest(thrice, replicate)
        assert seeds(once, replicate, 0) == seeds(thrice, replicate, 0)
    data, fits = zip(*(seeds(thrice, r, 0) for r in range(6)), strict=True)
    assert data == data[:2] * 3 and len(set(data)) == 2 and len(set(fits)) == 6
