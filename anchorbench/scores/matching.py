"""Which learned factor stands for which true one, where factors are known and where a mask is."""

from __future__ import annotations

from typing import Any

import numpy as np

from anchorbench.scores.keys import congruences, signed_effects
from anchorbench.scores.recovery import correlations, match


def match_effects(effects: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Learned factor (K*,) for every column of a key or a mask, by |congruence|; -1 for none."""
    return match(np.abs(congruences(effects, keys)))


def match_truth(run: Any, sizes: np.ndarray | None = None) -> np.ndarray:
    """Learned factor (K*,) for every true one of a run; -1 where there is none.

    By |correlation| of test codes where true factors are known. Where they are not, by |congruence|
    of effects with the scoring key, or of their sizes with a support that has no signs.

    sizes : of effects (G, K); those of the loadings where not given.
    """
    if run.truth.factors is not None:
        return match(correlations(run.codes, run.truth.factors[1]))
    if sizes is None:
        effects = signed_effects(run.loadings, run.codes, run.test)
    else:
        signs = np.sign(signed_effects(np.ones_like(sizes), run.codes, run.test))
        effects = sizes * signs
    if run.truth.keys is None:
        return match_effects(np.abs(effects), run.truth.support)
    return match_effects(effects, run.truth.keys)
