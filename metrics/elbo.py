"""Evidence lower bound of held-out rows, at KL weight 1 whatever weight the model was trained with.

mean_i E_q[log p(x_i|z)] - KL(q(z|x_i) || p(z)), the KL summed over latents (eqs. 7 and 54), per row
in nats; (-inf, inf) for densities, (-inf, 0] for counts, which leave out the multinomial
coefficient. From ``model.elbo``, else estimated with 16 draws of ``posterior``.
"""

from anchorbench.scores.prediction import log_weights

METRIC = {
    "label": "ELBO",
    "direction": "max",
    "range": [None, None],
    "needs": ["posterior", "log_prob"],
}


def compute(run):
    if hasattr(run.model, "elbo"):
        return float(run.model.elbo(run.test).mean())
    return float(log_weights(run.model, run.test, 16, run.rng("elbo")).mean())
