"""The sparse VAE's mask started at rotated principal loadings."""

import numpy as np
import pytest
import torch
from deep_cases import count_data, data, gaussian_data, untrained
from test_linear import planted

from anchorbench.models.mask_start import log_shares, varimax_start
from anchorbench.study.plugins import discover


def start(X, n_latent=3, likelihood="gaussian", **params):
    model = untrained("sparse_vae", likelihood, n_latent, 0, **params)
    rows = torch.tensor(X, dtype=torch.float32)
    return model.initialise(rows, torch.Generator().manual_seed(3))


def test_it_is_the_varimax_rotated_principal_loadings():
    X, _ = planted(500)
    X = (X - X.mean(0)) / X.std(0)
    other = untrained("pca_varimax", "gaussian", 3, 0).fit(X).loadings_
    other = other * np.where(other.sum(0) < 0, -1, 1) / np.sqrt((other**2).mean())
    W = start(X, mask_start="varimax")[0]["W"].numpy()
    np.testing.assert_allclose(W, other, atol=1e-4)
    assert (np.abs(W).argmax(1) == np.abs(W[::4].repeat(4, 0)).argmax(1)).all()


def test_nothing_else_of_the_start_changes_and_it_is_never_the_default():
    X = gaussian_data()
    (normal, others), (started, others_too) = (
        start(X, mask_start=word) for word in ("normal", "varimax")
    )
    for name in set(normal) - {"W"}:
        assert torch.equal(normal[name], started[name])
    assert all(torch.equal(others[name], others_too[name]) for name in others)
    meta = discover("methods")["sparse_vae"].meta
    assert meta["params"]["mask_start"] == "normal"
    assert not any("mask_start" in values for values in meta["protocols"].values())


def test_counts_start_from_logarithms_of_shares():
    X = count_data()
    W = start(X, likelihood="multinomial", mask_start="varimax")[0]["W"].numpy()
    sums = X.sum(1)
    sums[0] = 1.0
    np.testing.assert_allclose(log_shares(X), np.log1p(X / sums[:, None] * X.sum(1).mean()))
    np.testing.assert_allclose(W, varimax_start(log_shares(X), 3), atol=1e-5)


def test_columns_beyond_the_rank_stay_drawn():
    X = gaussian_data(width=4)
    drawn, found = (start(X, 6, mask_start=word)[0]["W"] for word in ("normal", "varimax"))
    assert torch.equal(drawn[:, 4:], found[:, 4:])
    assert (varimax_start(np.ones((5, 4)), 2) == 0).all()


@pytest.mark.parametrize("likelihood", ["gaussian", "poisson"])
def test_members_of_a_stack_start_from_their_own_rows(likelihood):
    params = {"n_hidden": 5, "epochs": 2, "batch_size": 20, "mask_start": "varimax"}
    model = untrained("sparse_vae", likelihood, 2, 0, **params)
    Xs = [data(likelihood, 40, 1), data(likelihood, 50, 2)]
    for X, together in zip(Xs, model.fit_many(Xs, [1, 2]), strict=True):
        alone = untrained("sparse_vae", likelihood, 2, together.seed, **params).fit(X)
        np.testing.assert_allclose(alone.loadings_, together.loadings_, rtol=1e-4, atol=1e-6)


def test_a_wrong_word_is_refused():
    model = untrained("sparse_vae", "gaussian", 2, 0, mask_start="pca")
    with pytest.raises(ValueError, match="mask_start 'pca': use one of normal, varimax"):
        model.fit(gaussian_data())
