"""PeerRead: words of abstracts of papers on arXiv (Kang et al. 2018)."""

from __future__ import annotations

from pathlib import Path

from anchorbench.data.dataset import Dataset
from anchorbench.data.peerread_words import peerread_counts

DATASET = {
    "label": "PeerRead",
    "likelihood": "multinomial",
    "sources": ["peerread", "wordnet", "stopwords"],
    "replicates": 5,
    "resampling": "folds",
    "headline": {"published": "perplexity", "corrected": "completion_perplexity"},
    "params": {"max_df": 0.9, "min_df": 0.0007, "n_features": 500},
    "provides": [],
    "terms": "PeerRead states no licence, the abstracts are their authors'; WordNet 3.0 has the "
    "Princeton licence; the stop words come with NLTK's data.",
    "cite": "Kang et al. (2018), A Dataset of Peer Reviews (PeerRead), NAACL",
}


def prepare(
    raw: dict[str, Path], max_df: float = 0.9, min_df: float = 0.0007, n_features: int = 500
) -> Dataset:
    """Counts of the n_features most frequent words; rows with one token or none are dropped.

    Raises DataError for an archive that is broken or not in the layout of PeerRead or NLTK.
    """
    counts, words = peerread_counts(raw, max_df, min_df, n_features)
    return Dataset(counts, words)
