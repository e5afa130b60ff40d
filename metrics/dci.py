"""DCI with gradient boosted trees on all training points (Eastwood and Williams 2018; figure 3b).

Trees predict each true factor from all codes; R_ck is the importance of code c for factor k.
dci (disentanglement) = sum_c w_c (1 - H_K*(R_c / sum R_c)), w_c the code's share of importance;
dci_completeness the same over factors, base K; dci_informativeness = mean over factors of the
held-out R^2, at least 0. All in [0, 1]; constant codes give 0. The paper fitted 16 points: dci_n16.
At most 1,000 random training rows are fitted, the same for every method.
"""

from anchorbench.scores.recovery import (
    boosted_importance,
    completeness,
    disentanglement,
    fitted_rows,
    held_out_r2,
)

METRIC = {
    "label": "DCI",
    "direction": "max",
    "range": [0, 1],
    "needs": ["codes", "factors"],
    "values": {
        "dci": "DCI disentanglement",
        "dci_completeness": "DCI completeness",
        "dci_informativeness": "DCI informativeness",
    },
}


def compute(run):
    factors, factors_test = run.truth.factors
    rows = fitted_rows(len(factors))
    importance, predicted = boosted_importance(run.codes_train[rows], factors[rows], run.codes)
    return {
        "dci": disentanglement(importance),
        "dci_completeness": completeness(importance),
        "dci_informativeness": float(held_out_r2(factors_test, predicted).mean()),
    }
