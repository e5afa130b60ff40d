"""How far each matched code depends on its own factor alone, whatever the factors' correlation.

purity: a code regressed on all true factors (test rows, standardised, least squares), the squared
coefficient of its own as a share of all; mean over factors. purity_spline: additive regression on
splines, variances of the components in place of squared coefficients, for codes that are not linear
in their factor. Both in [0, 1]: 1 for the factors, 1/2 for two factors rotated by 45 degrees, 0 for
constant codes; MCC is moved by the correlation of the factors, these are not.
"""

from anchorbench.scores.identification import purity

METRIC = {
    "label": "Purity",
    "direction": "max",
    "range": [0, 1],
    "needs": ["codes", "factors"],
    "values": {"purity": "Purity", "purity_spline": "Purity (splines)"},
}


def compute(run):
    factors = run.truth.factors[1]
    return {
        "purity": purity(run.codes, factors),
        "purity_spline": purity(run.codes, factors, spline=True),
    }
