"""Linear classification of labels from codes."""

import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def accuracy(
    codes: np.ndarray, labels: np.ndarray, codes_test: np.ndarray, labels_test: np.ndarray
) -> float:
    """Share of test rows whose label a multinomial logistic regression on training rows gets right.

    Codes (N, K) are standardised by training rows; L2 penalty with C = 1. A single training label
    is predicted everywhere.
    """
    if len(np.unique(labels)) == 1:
        return float(np.mean(labels_test == labels[0]))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(model.fit(codes, labels).score(codes_test, labels_test))


def cross_validated_accuracy(codes: np.ndarray, labels: np.ndarray, folds: int = 5) -> float:
    """Mean :func:`accuracy` over stratified folds of the same rows, shuffled with a fixed seed.

    At most as many folds as the commonest label has rows; 0 if no label comes twice.
    """
    folds = min(folds, int(np.unique(labels, return_counts=True)[1].max()))
    if folds < 2:
        return 0.0
    with warnings.catch_warnings():
        # A label with fewer rows than folds is missing from some folds, which is harmless here.
        warnings.filterwarnings("ignore", message="The least populated class")
        folded = StratifiedKFold(folds, shuffle=True, random_state=0).split(codes, labels)
        return float(
            np.mean([accuracy(codes[a], labels[a], codes[b], labels[b]) for a, b in folded])
        )
