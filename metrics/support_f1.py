"""F1 of the learned support against the true one, after matching factors (figure 4c).

Learned factors are matched to true ones by |corr| of their test codes (Hungarian); where no true
factors are known, by |congruence| of their effects with the columns of the mask. support_f1: F1
over the entries of the matched columns; true factors left without a code are all missed.
support_f1_all: unmatched columns join in, each entry whose effect is at least 1 % of its row's
largest being a false positive. The learned support is the model's ``support_``, else the loadings
that are not exactly 0. In [0, 1]; an empty support scores 0. The paper gives no code for its score.
"""

from anchorbench.scores.effects import claimed_support, effective_support
from anchorbench.scores.matching import match_truth
from anchorbench.scores.recovery import f1, in_true_order

METRIC = {
    "label": "Support F1",
    "direction": "max",
    "range": [0, 1],
    "needs": ["codes", "support", "loadings"],
    "values": {
        "support_f1": "Support F1",
        "support_f1_all": "Support F1 (all factors)",
    },
}


def compute(run):
    matched = match_truth(run)
    learned, _ = in_true_order(claimed_support(run.support, run.loadings), matched)
    effective = effective_support(run.support, run.loadings, run.codes_train)
    _, extra = in_true_order(effective, matched)
    return {
        "support_f1": f1(learned, run.truth.support),
        "support_f1_all": f1(learned, run.truth.support, int(extra.sum())),
    }
