"""How well loadings recover a published scoring key (questionnaires).

Effects E_jk = |l_jk| sd(z_k) / sd(x_j), signed by corr(x_j, z_k), on test rows; factors are matched
to scales by congruence. key_accuracy: share of items whose largest effect is on their scale's
factor. key_congruence: Tucker's congruence with the signed key. key_auroc, key_f1, key_sign: see
`anchorbench.scores.keys`. All in [0, 1]. Scales were themselves found by rotations of factors.
"""

from anchorbench.scores.keys import key_scores, signed_effects

METRIC = {
    "label": "Key recovery",
    "direction": "max",
    "range": [0, 1],
    "likelihoods": ["real"],
    "needs": ["codes", "keys", "loadings"],
    "values": {
        "key_accuracy": "Key accuracy",
        "key_congruence": "Key congruence",
        "key_auroc": "Key AUROC",
        "key_f1": "Key F1",
        "key_sign": "Key signs",
    },
}


def compute(run):
    effects = signed_effects(run.loadings, run.codes, run.test)
    scores = key_scores(effects, run.truth.keys)
    return {f"key_{name}": value for name, value in scores.items()}
