"""Mean correlation coefficient of matched codes and true factors (Hyvarinen and Morioka 2016).

mcc: |Pearson correlation| of test codes and factors, one-to-one (rectangular Hungarian) assignment,
mean over true factors. mcc_spearman: the same with ranks, for monotone transforms. mcc_nonlinear:
with sqrt(held-out R^2) of a spline of one code, monotone or not, since the theory identifies
factors up to element-wise transforms only. r: mean over factors of the multiple correlation with
all codes at once, blind to rotation: a high r with a low mcc means the wrong rotation (Lachapelle
et al. 2022). All in [0, 1]; a constant code correlates 0, a true factor left without a code
counts 0.
"""

from anchorbench.scores.recovery import (
    correlations,
    matched_mean,
    multiple_correlations,
    spline_correlations,
)

METRIC = {
    "label": "MCC",
    "direction": "max",
    "range": [0, 1],
    "needs": ["codes", "factors"],
    "values": {
        "mcc": "MCC",
        "mcc_spearman": "MCC (Spearman)",
        "mcc_nonlinear": "MCC (element-wise spline)",
        "r": "Multiple correlation R",
    },
}


def compute(run):
    factors_train, factors = run.truth.factors
    splines = spline_correlations(run.codes_train, factors_train, run.codes, factors)
    return {
        "mcc": matched_mean(correlations(run.codes, factors)),
        "mcc_spearman": matched_mean(correlations(run.codes, factors, ranks=True)),
        "mcc_nonlinear": matched_mean(splines),
        "r": float(multiple_correlations(run.codes, factors).mean()),
    }
