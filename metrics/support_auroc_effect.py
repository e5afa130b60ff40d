"""Support AUROC from the decoder alone, for models with and without loadings.

As support_auroc, with entries ranked by the change of feature j, in its standard deviations, when
code k moves by one of its own: mean |f(z + s_k/2) - f(z - s_k/2)|_j / sd(x_j) over test rows. In
[0, 1], chance .5; a constant decoder or code ties, which is chance.
"""

from anchorbench.scores.effects import decoder_effects
from anchorbench.scores.matching import match_truth
from anchorbench.scores.recovery import support_ranking

METRIC = {
    "label": "Support AUROC (decoder effects)",
    "direction": "max",
    "range": [0, 1],
    "needs": ["codes", "support"],
    "values": {
        "support_auroc_effect": "Support AUROC (decoder effects)",
        "support_auprc_effect": "Support AUPRC (decoder effects)",
        "support_auroc_effect_all": "Support AUROC (decoder effects, all factors)",
    },
}


def compute(run):
    effects = decoder_effects(run)
    matched = match_truth(run, effects)
    auroc, auprc, auroc_all = support_ranking(effects, matched, run.truth.support)
    return {
        "support_auroc_effect": auroc,
        "support_auprc_effect": auprc,
        "support_auroc_effect_all": auroc_all,
    }
