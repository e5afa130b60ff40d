"""Members of a stack that differ in their settings are the same bits as alone."""

import numpy as np
import pytest
import torch
from deep_cases import SMALL, data, untrained

from anchorbench.models import members, training
from anchorbench.models.base import fit_together
from anchorbench.models.members import PerMember
from anchorbench.study.plugins import discover, is_for

pytestmark = pytest.mark.usefixtures("one_thread")

OWN = {
    "vae": {"learning_rate": 0.003, "kl_weight": 0.3, "kl_warmup": 0.7},
    "beta_vae": {"learning_rate": 0.004, "beta": 3.0, "kl_warmup": 0.2},
    "sparse_vae": {
        "learning_rate": 0.004,
        "kl_weight": 0.7,
        "lambda0": 7.3,
        "lambda1": 0.37,
        "lambda0_ladder": 0.4,
    },
    "oi_vae": {"learning_rate": 0.004, "penalty_rate": 13.7, "w_rate": 0.0031, "kl_weight": 0.7},
    "vsc": {
        "alpha": 0.033,
        "pseudo_sharpness": 7.7,
        "temperature_start": 33.0,
        "temperature_end": 77.0,
        "spike_warmup": 0.17,
        "spike_ramp": 0.31,
    },
    "tc_vae": {"learning_rate": 0.004, "kl_weight": 0.7, "beta": 3.3},
    "dip_vae": {"learning_rate": 0.004, "lambda_od": 3.3, "lambda_d": 1.7},
    "jl1_vae": {"kl_weight": 0.7, "kl_warmup": 0.7, "gamma": 0.033},
    "additive_vae": {"learning_rate": 0.004, "kl_weight": 0.7},
    "ldvae": {"learning_rate": 0.004, "kl_weight": 0.7},
    "sparse_ldvae": {"lambda0": 7.3, "lambda1": 0.37, "lambda0_ladder": 0.4, "kl_warmup": 0.2},
    "mult_vae": {"learning_rate": 0.004, "kl_weight": 0.7},
    "mixture_vae": {"learning_rate": 0.004, "kl_weight": 0.7},
    "prodlda": {"learning_rate": 0.004, "kl_weight": 0.7},
}
CASES = [
    (name, protocol, likelihood, {})
    for name in OWN
    for protocol in discover("methods")[name].meta.get("protocols", ["corrected"])
    for likelihood in ("gaussian", "multinomial")
    if is_for(discover("methods")[name].meta, likelihood)
]
CASES += [
    ("sparse_vae", "corrected", "gaussian", {"penalty": penalty, "penalty_step": step})
    for penalty in ("l1", "group_lasso", "none")
    for step in ("proximal", "subgradient")
]
CASES += [
    ("ldvae", "corrected", "gaussian", {"noise": "common"}),
    ("additive_vae", "corrected", "multinomial", {"pool": "logsumexp"}),
]


def build(name, protocol, likelihood, **params):
    meta = discover("methods")[name].meta
    own = meta["params"] | meta.get("protocols", {}).get(protocol, {}) | SMALL | {"epochs": 2}
    own = {key: value for key, value in own.items() if key in meta["params"]}
    return untrained(name, likelihood, 3, 0, **{**own, **params})


def without_falling_back(monkeypatch):
    """Fails a test in which a stack rounded unlike its members and was trained one by one."""
    exact = training._StackTraining._rounds_as_its_members

    def checked(self, segment):
        assert exact(self, segment)
        return True

    monkeypatch.setattr(training._StackTraining, "_rounds_as_its_members", checked)


@pytest.mark.parametrize(("name", "protocol", "likelihood", "params"), CASES)
def test_a_member_equals_the_same_fit_alone(name, protocol, likelihood, params, monkeypatch):
    without_falling_back(monkeypatch)
    model = build(name, protocol, likelihood, **params)
    own = OWN[name]
    settings = [{}, own, {k: 1.7 * v for k, v in own.items()}, dict.fromkeys(own, 0.0)]
    if {"lambda0", "alpha"} & set(own):  # zero is no rate of a spike, and no probability of one
        settings[3] = {"kl_warmup": 0.0, "learning_rate": 0.02}
    X, other = data(likelihood, 70, 1), data(likelihood, 53, 2)
    Xs, seeds = [X, X, other, other], [3, 4, 5, 6]
    for X, seed, setting, fitted in zip(
        Xs, seeds, settings, model.fit_settings(Xs, seeds, settings), strict=True
    ):
        alone = type(model)(**(model.get_params() | setting | {"seed": seed})).fit(X)
        assert fitted.get_params() == alone.get_params()
        for name in alone.state_:
            assert torch.equal(alone.state_[name], fitted.state_[name]), name
        assert all(np.array_equal(alone.history_[n], fitted.history_[n]) for n in alone.history_)


def test_every_scalar_is_tried_and_is_a_number_of_the_estimator():
    for name, own in OWN.items():
        fits = is_for(discover("methods")[name].meta, "gaussian")
        model = build(name, "corrected", "gaussian" if fits else "multinomial")
        tried = set(own) | {"kl_weight", "kl_warmup", "learning_rate"}
        assert set(model.scalars) == tried
        assert all(isinstance(model.get_params()[scalar], float) for scalar in model.scalars)


def test_settings_change_the_numbers_and_words_split_stacks(monkeypatch):
    sizes = []
    train = training.train

    def counted(model, Xs, *rest, **named):
        sizes.append(len(Xs))
        return train(model, Xs, *rest, **named)

    monkeypatch.setattr(training, "train", counted)
    model = build("sparse_vae", "corrected", "gaussian")
    X = data("gaussian", 40)
    settings = [{}, {"lambda0": 3.0}, {"penalty": "l1"}, {"lambda1": 2.0}, {"n_hidden": 5}]
    settings += [{"kl_warmup": 0.0}, {"kl_weight": "1/K"}, {"n_hidden": 5, "kl_weight": 0.5}]
    fitted = model.fit_settings([X] * 8, [1] * 8, settings)
    assert sizes == [3, 1, 2, 1, 1]
    assert len({f.state_["W"].sum().item() for f in fitted}) == 8


def test_models_built_by_a_plugin_share_a_stack():
    X = data("gaussian", 40)
    models = [
        untrained("beta_vae", "gaussian", 3, seed, beta=beta, **SMALL)
        for seed, beta in ((1, 2.0), (2, 8.0))
    ]
    for model, (seed, beta) in zip(fit_together(models, [X, X]), ((1, 2.0), (2, 8.0)), strict=True):
        alone = untrained("beta_vae", "gaussian", 3, seed, beta=beta, **SMALL).fit(X)
        assert np.array_equal(model.transform(X), alone.transform(X))


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"lambda9": 1.0}, "no parameter lambda9"), ({"penalty": "l3"}, "use one of ssl")],
)
def test_settings_that_cannot_be_are_refused_before_training(setting, message):
    with pytest.raises(ValueError, match=message):
        build("sparse_vae", "corrected", "gaussian").fit_settings(
            [data("gaussian", 40)] * 2, [0, 1], [{}, setting]
        )


def test_a_number_per_member_does_each_members_arithmetic():
    own = (0.1, 3.0, 7.7)
    numbers = PerMember(own)
    tensor = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    for act in (
        lambda p, t: p + t,
        lambda p, t: t + p,
        lambda p, t: p - t,
        lambda p, t: t - p,
        lambda p, t: p * t,
        lambda p, t: t * p,
        lambda p, t: p / t,
        lambda p, t: t / p,
        lambda p, t: (2 - p) / 3 * t,
        lambda p, t: t.clone().mul_(1 / p),
        lambda p, t: -p * t,
        lambda p, t: members.logarithm(p) * t,
        lambda p, t: (t >= p).to(t),
        lambda p, t: torch.add(t.sum(1), p),
    ):
        together = act(numbers, tensor)
        for r, value in enumerate(own):
            assert torch.equal(together[r : r + 1], act(value, tensor[r : r + 1]))
    assert members.select(numbers, [1]) == 3.0
    assert members.select(numbers, [2, 0]).values == (7.7, 0.1)
    with pytest.raises(TypeError):
        numbers + "1"
