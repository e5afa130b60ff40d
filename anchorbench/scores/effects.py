"""What a factor does: effect sizes of codes on features, learned supports, active factors.

``loadings`` (G, K) are a model's own; effects measured from the decoder need only
``inverse_transform`` and so compare any two models.
"""

from typing import Any

import numpy as np

from anchorbench.scores.prediction import probabilities
from anchorbench.scores.recovery import evaluation_rng

PROBE_ROWS = 64
EFFECT = 0.01
KL = 0.01


def loading_effects(loadings: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """e_jk = sd(z_k) |loading_jk| (G, K): free of the scale shared out between code and loading."""
    return np.abs(loadings) * codes.std(axis=0)


def claimed_support(support: np.ndarray | None, loadings: np.ndarray) -> np.ndarray:
    """The support (G, K) that a model claims: its own, else the loadings that are not exactly 0."""
    return np.asarray(loadings != 0) if support is None else np.asarray(support, dtype=bool)


def effective_support(
    support: np.ndarray | None, loadings: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """Claimed entries (G, K) whose effect is positive and at least 1 % of the row's largest."""
    effects = loading_effects(loadings, codes)
    largest = effects.max(axis=1, keepdims=True, initial=0.0)
    large = (effects > 0) & (effects >= EFFECT * largest)
    return np.logical_and(claimed_support(support, loadings), large)


def decoder_effects(run: Any) -> np.ndarray:
    """Change (G, K) of expected features for a change of one sd in a code, in sds of the feature.

    mean_i |f(z_i + s_k/2) - f(z_i - s_k/2)| / sd(x_j) over 64 test rows, i.e. the mean absolute
    derivative times sd(z_k) / sd(x_j) for a smooth decoder. For counts, both the decoded and the
    observed features are shares of the row. A feature that never varies gets 0.
    """
    spread = run.codes_train.std(axis=0)
    rows = evaluation_rng("probe").permutation(len(run.codes))[:PROBE_ROWS]
    centre = np.asarray(run.codes, dtype=float)[rows]
    shares = probabilities if run.kind == "counts" else np.asarray
    scale = shares(run.train).std(axis=0)
    effects = np.zeros((len(scale), len(spread)))
    for k in np.flatnonzero(spread):
        step = np.zeros(len(spread))
        step[k] = spread[k] / 2
        up = shares(run.model.inverse_transform(centre + step))
        down = shares(run.model.inverse_transform(centre - step))
        effects[:, k] = np.abs(up - down).mean(axis=0)
    return np.divide(effects, scale[:, None], out=np.zeros_like(effects), where=scale[:, None] > 0)


def latent_kl(mean: np.ndarray, sd: np.ndarray, prior: np.ndarray | float = 1.0) -> np.ndarray:
    """Mean over rows of KL(N(mean, sd^2) || N(0, prior)) in nats, per latent (K,).

    mean : from the prior's.
    """
    variance = np.maximum(np.asarray(sd, dtype=float) ** 2, 1e-12) / prior
    squares = np.asarray(mean) ** 2 / prior
    return 0.5 * (squares + variance - 1 - np.log(variance)).mean(axis=0)


def active(run: Any) -> np.ndarray:
    """Which factors (K,) are in use: some feature moves by more than 1 % of its sd.

    Where the model has a posterior, its mean KL to the model's own prior of that code must also
    exceed 0.01 nats (to a normal prior of its mean and variance; of VSC, whose prior's spikes have
    none, to N(0, 1)).
    """
    used = np.any(decoder_effects(run) > EFFECT, axis=0)
    if hasattr(run.model, "posterior"):
        covariance = getattr(run.model, "prior_covariance_", np.eye(len(used)))
        mean, sd = run.model.posterior(run.test)
        mean = mean - getattr(run.model, "prior_mean_", 0.0)
        used = used & (latent_kl(mean, sd, np.diag(covariance)) > KL)
    return np.asarray(used)
