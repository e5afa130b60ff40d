"""How well loadings rank the entries of the true support, without any threshold.

Entries (j, k) of the matched columns (Hungarian, |corr| of test codes; where no true factors are
known, |congruence| of effects with the mask) are ranked by e_jk = sd(z_k) |loading_jk|:
support_auroc, and support_auprc = average precision. support_auroc_all adds unmatched columns,
whose entries are all negatives. In [0, 1], chance .5 (auprc: the share of true entries); zero
loadings tie, which is chance; a support of one kind only gives .5.
"""

from anchorbench.scores.effects import loading_effects
from anchorbench.scores.matching import match_truth
from anchorbench.scores.recovery import support_ranking

METRIC = {
    "label": "Support AUROC",
    "direction": "max",
    "range": [0, 1],
    "needs": ["codes", "support", "loadings"],
    "values": {
        "support_auroc": "Support AUROC",
        "support_auprc": "Support AUPRC",
        "support_auroc_all": "Support AUROC (all factors)",
    },
}


def compute(run):
    matched = match_truth(run)
    effects = loading_effects(run.loadings, run.codes_train)
    auroc, auprc, auroc_all = support_ranking(effects, matched, run.truth.support)
    return {"support_auroc": auroc, "support_auprc": auprc, "support_auroc_all": auroc_all}
