"""Accuracy of a multinomial logistic regression of labels on codes (table 4).

cell_type_accuracy: fitted on the codes and labels of training rows, scored on test rows that
neither the representation nor the classifier has seen. cell_type_accuracy_cv: 5-fold stratified
cross-validation within training rows, on which the representation was trained; nearest to the
paper, which trained and encoded on all cells and does not state how the regression was split.
Codes are standardised, L2 penalty with C = 1. Labels "level1" if there, else the first. In [0, 1];
constant codes give the share of the commonest label.
"""

from anchorbench.classify import accuracy, cross_validated_accuracy

METRIC = {
    "label": "Cell type accuracy",
    "direction": "max",
    "range": [0, 1],
    "likelihoods": ["gaussian", "multinomial"],
    "needs": ["labels"],
    "values": {
        "cell_type_accuracy": "Cell type accuracy",
        "cell_type_accuracy_cv": "Cell type accuracy (cross-validated)",
    },
}


def compute(run):
    labels = run.labels.get("level1") or next(iter(run.labels.values()))
    return {
        "cell_type_accuracy": accuracy(run.codes_train, labels[0], run.codes, labels[1]),
        "cell_type_accuracy_cv": cross_validated_accuracy(run.codes_train, labels[0]),
    }
