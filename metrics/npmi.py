"""Coherence of topics: normalised pointwise mutual information of each factor's top words.

npmi: mean over factors of the mean over pairs of the top 10 words (by |loading|) of
log(p_ij / p_i p_j) / -log p_ij, p = share of training documents with the words (Bouma 2009; Lau et
al. 2014), in [-1, 1]; pairs that never meet score -1. npmi_authors: the paper's notebook, top 20
words and products of counts in place of co-occurrence; not comparable with npmi. A factor whose
loadings rank nothing (constant or zero) scores 0.
"""

from anchorbench.scores.topics import authors_npmi, document_npmi, top_words

METRIC = {
    "label": "NPMI",
    "direction": "max",
    "range": [-1, 1],
    "likelihoods": ["counts"],
    "needs": ["loadings"],
    "datasets": ["peerread", "peerread_shift", "simulated_counts"],
    "values": {"npmi": "NPMI", "npmi_authors": "NPMI (authors' version)"},
}


def compute(run):
    return {
        "npmi": document_npmi(run.train, top_words(run.loadings, 10)),
        "npmi_authors": authors_npmi(run.train, top_words(run.loadings, 20)),
    }
