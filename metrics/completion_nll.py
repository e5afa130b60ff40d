"""Document completion: encode a random half of a row's tokens, score the other half.

mean_i -sum_j x''_ij log(p_ij + 1e-6), p = the normalised decoding of the code of the first half x'
(Wallach et al. 2009; Rosen-Zvi et al. 2004), with completion_perplexity = exp(total NLL / scored
tokens). Halves are drawn without replacement, the same for every method; the second half is the
larger one. Range [0, 13.8 tokens]. Rows with fewer than 2 tokens are left out; with none left the
value is 0 (perplexity 1). Unlike recon_nll it does not reward copying.
"""

from anchorbench.scores.prediction import halve_tokens, token_nll
from anchorbench.scores.recovery import evaluation_rng

METRIC = {
    "label": "Completion NLL",
    "direction": "min",
    "range": [0, None],
    "likelihoods": ["counts"],
    "needs": [],
    "values": {
        "completion_nll": "Completion NLL",
        "completion_perplexity": "Completion perplexity",
    },
}


def compute(run):
    seen, scored = halve_tokens(run.test, evaluation_rng("completion_nll"))
    expected = run.model.inverse_transform(run.model.transform(seen))
    rows = seen.any(axis=1)
    nll, perplexity = token_nll(scored[rows], expected[rows])
    return {"completion_nll": nll, "completion_perplexity": perplexity}
