"""Small data, states and minibatches for tests of the deep methods."""

from types import SimpleNamespace

import numpy as np
import torch

from anchorbench.models.training import Batch
from anchorbench.study.plugins import discover, kind_of, load

SMALL = {"n_hidden": 9, "epochs": 4, "batch_size": 20}
# Tests of mechanics set states by hand, and change units where they mean to.
AS_THEY_ARE = {"feature_scaling": "none"}


def untrained(name, *arguments, **params):
    """A method's object as the suite builds it."""
    return load(discover("methods")[name]).build(*arguments, **params)


def gaussian_data(n=70, seed=0, width=6):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 2)) @ rng.standard_normal((2, width)) + 0.3 * (
        rng.standard_normal((n, width))
    )


def count_data(n=70, seed=0, width=8):
    rng = np.random.default_rng(seed)
    X = rng.multinomial(12, rng.dirichlet(np.ones(width)), n).astype(float)
    X[0] = 0  # an empty row
    return X


def topic_counts(n, seed=0):
    """Rows of 40 tokens, mostly of one of three topics."""
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(12, 0.1), 3)
    shares = rng.dirichlet(np.full(3, 0.2), n) @ topics
    return np.stack([rng.multinomial(40, p) for p in shares]).astype(float)


def yes_or_no(n=70, seed=0, width=8):
    return (gaussian_data(n, seed, width) > 0.2).astype(float)


def data(likelihood, n=70, seed=0):
    """Rows of the kind that a likelihood models."""
    return {"real": gaussian_data, "counts": count_data, "binary": yes_or_no}[kind_of(likelihood)](
        n, seed
    )


def a_batch(model, X, size=None, progress=0.5, rows=None, dtype=torch.float32):
    """The first `size` rows of X as one minibatch of a training set of `rows` rows."""
    rows = torch.tensor([float(rows or len(X))], dtype=dtype)
    X = X[:size]
    x = torch.tensor(X, dtype=dtype)[None]
    noise = model.draw_noise(torch.Generator().manual_seed(9), len(X))[None].to(dtype)
    weight = torch.full((1, len(X)), 1 / len(X), dtype=dtype)
    return Batch(x, weight, noise, torch.tensor([progress], dtype=dtype), rows, len(X))


def a_state(model, X, seed=0, dtype=torch.float32):
    """(stacked state before training, whose trained parameters require gradients; their names)."""
    tensor = torch.tensor(X, dtype=torch.float32)
    parameters, others = model.initialise(tensor, torch.Generator().manual_seed(seed))
    trained = {n: t[None].to(dtype, copy=True).requires_grad_() for n, t in parameters.items()}
    others = {n: t[None].to(dtype) for n, t in others.items()}
    return SimpleNamespace(**trained, **others), set(parameters)
