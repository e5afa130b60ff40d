"""Accuracy of a multinomial logistic regression of labels on codes (table 4).

cell_type_accuracy: fitted on the codes and labels of training rows, scored on test rows, whose
labels it has not seen. Where training rows include the test rows (Zeisel, published: the paper
trained and encoded on all cells and does not state how the regression was split) only the others
are fitted, and the representation alone is transductive. cell_type_accuracy_cv: 5-fold stratified
cross-validation within training rows, on which the representation was trained. Codes are
standardised, L2 penalty with C = 1. Labels "level1" if there, else the first; tables call them by
the dataset's own name for them, in the place of {classes}. In [0, 1]; constant codes give the share
of the commonest label.
"""

import numpy as np

from anchorbench.scores.labels import accuracy, cross_validated_accuracy

METRIC = {
    "label": "{classes} accuracy",
    "direction": "max",
    "range": [0, 1],
    "needs": ["codes", "labels"],
    "values": {
        "cell_type_accuracy": "{classes} accuracy",
        "cell_type_accuracy_cv": "{classes} accuracy (cross-validated)",
    },
}


def compute(run):
    train, test = run.labels.get("level1") or next(iter(run.labels.values()))
    rows, held_out = run.truth.index
    fitted = ~np.isin(rows, held_out)
    return {
        "cell_type_accuracy": accuracy(run.codes_train[fitted], train[fitted], run.codes, test),
        "cell_type_accuracy_cv": cross_validated_accuracy(run.codes_train, train),
    }
