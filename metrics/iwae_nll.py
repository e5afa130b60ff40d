"""Importance-weighted bound on -log p(x) of held-out rows (Burda, Grosse, Salakhutdinov 2016).

-mean_i log 1/K sum_k p(x_i|z_k) p(z_k) / q(z_k|x_i), z_k ~ q(z|x_i), K = 100, in nats per row; on
average never below the true NLL and never above -ELBO. q is N(mean, sd) of ``posterior`` unless the
model has its own ``log_weights``; the prior is ``model.log_prior``, else N(0, I). The multinomial
leaves out its coefficient. At most 1,000 random test rows are scored, the same for every method.
"""

from scipy.special import logsumexp

from anchorbench.scores.prediction import log_weights
from anchorbench.scores.recovery import evaluation_rng

METRIC = {
    "label": "IWAE-100 NLL",
    "direction": "min",
    "range": [None, None],
    "needs": ["posterior", "log_prob"],
}
DRAWS = 100
ROWS = 1000


def compute(run):
    rows = evaluation_rng("iwae_nll").permutation(len(run.test))[:ROWS]
    weights = log_weights(run.model, run.test[rows], DRAWS, run.rng("iwae_nll"))
    return float(-logsumexp(weights, axis=1, b=1 / DRAWS).mean())
