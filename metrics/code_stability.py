"""Whether models of different seeds and training rows give single codes the same meaning.

Two models of a variant encode the first replicate's test rows. m: mean |correlation| of their
active codes, matched one-to-one on half of the rows and measured on the other; b: what that is
where single codes mean nothing in common (the larger of the mean over unmatched pairs, and of m
under random rotations of one model's codes). code_stability = (m - b) / (1 - b), cut at 0: about 0
by chance and 1 where the factors are the same up to order, sign and scale. Mean over at most four
other replicates. Needs no truth. With two factors b is about .9 and single values say little.
Replicates whose features differ are passed over; where all do, it does not apply.
"""

import numpy as np

from anchorbench.scores.effects import active
from anchorbench.scores.stability import agreement

METRIC = {
    "label": "Code stability",
    "direction": "max",
    "range": [0, 1],
    "needs": ["codes", "peers"],
    "values": {
        "code_stability": "Code stability",
        "code_stability_m": "Code stability: matched",
        "code_stability_b": "Code stability: by chance",
    },
}
PEERS = 4


def compute(run):
    everyone = sorted([run, *run.peers()], key=lambda other: other.record["replicate"])
    at = next(i for i, other in enumerate(everyone) if other is run)
    others = [o for o in everyone[at + 1 :] + everyone[:at] if o.features == run.features]
    if not others:
        return None
    first = next(other for other in everyone if other.features == run.features)
    mine = _active_codes(run, first.test)
    rng = run.rng("code_stability")
    found = [agreement(mine, _active_codes(o, first.test), rng) for o in others[:PEERS]]
    return {
        "code_stability": float(np.mean([one.value for one in found])),
        "code_stability_m": float(np.mean([one.m for one in found])),
        "code_stability_b": float(np.mean([one.b for one in found])),
    }


def _active_codes(run, rows):
    """Codes (N, active) of rows by a run's model."""
    return np.asarray(run.model.transform(rows), dtype=float)[:, active(run)]
