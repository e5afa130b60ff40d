"""Share of distinct words among the top 25 words of all factors (Dieng, Ruiz and Blei 2020).

Top words by |loading|, in [0, 1]: 1/K when all topics are the same, 1 when none share a word. A
factor whose loadings rank nothing (constant or zero) contributes no words. With G features the
value cannot exceed G / 25 K.
"""

from anchorbench.scores.topics import diversity, top_words

METRIC = {
    "label": "Topic diversity",
    "direction": "max",
    "range": [0, 1],
    "likelihoods": ["counts"],
    "needs": ["loadings"],
    "datasets": ["peerread", "peerread_shift", "simulated_counts"],
}
WORDS = 25


def compute(run):
    return diversity(top_words(run.loadings, WORDS), WORDS)
