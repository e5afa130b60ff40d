"""DCI with Lasso importances on standardised codes (Eastwood and Williams 2018).

As dci, with R_ck = |coefficient of code c| in a Lasso regression of factor k. The penalty is the
largest within one standard error of the best 5-fold cross-validated error: the original takes the
best one, where noise codes can score 1 by a single chance coefficient. It sees linear relations
only, so it can order methods differently from dci. dci_lasso_informativeness is the held-out R^2,
at least 0 (the original reports a normalised error). All in [0, 1]; constant codes give 0. The rows
fitted are those of dci.
"""

from anchorbench.scores.recovery import (
    completeness,
    disentanglement,
    fitted_rows,
    held_out_r2,
    lasso_importance,
)

METRIC = {
    "label": "DCI (Lasso)",
    "direction": "max",
    "range": [0, 1],
    "needs": ["codes", "factors"],
    "values": {
        "dci_lasso": "DCI disentanglement (Lasso)",
        "dci_lasso_completeness": "DCI completeness (Lasso)",
        "dci_lasso_informativeness": "DCI informativeness (Lasso)",
    },
}


def compute(run):
    factors, factors_test = run.truth.factors
    rows = fitted_rows(len(factors))
    importance, predicted = lasso_importance(run.codes_train[rows], factors[rows], run.codes)
    return {
        "dci_lasso": disentanglement(importance),
        "dci_lasso_completeness": completeness(importance),
        "dci_lasso_informativeness": float(held_out_r2(factors_test, predicted).mean()),
    }
