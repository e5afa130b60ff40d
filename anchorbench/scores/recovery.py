"""Shared mathematics of the metrics: correlation, matching, DCI scores, set agreement.

Shapes: codes are (N, K) learned factors, factors (N, K*) true ones; a similarity or importance
matrix is (K, K*), learned by true. All functions take and return numpy arrays, draw nothing from
global random state, and give defined finite values for constant columns and empty matrices.
"""

import zlib

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm, rankdata
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import Lasso, LassoCV
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import SplineTransformer


def evaluation_rng(name: str) -> np.random.Generator:
    """Random numbers of an evaluation: the same for every method, so that scores are paired."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def standardise(values: np.ndarray) -> np.ndarray:
    """Columns of ``values`` (N, K) with mean 0 and standard deviation 1; constant ones become 0."""
    values = np.asarray(values, dtype=float)
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    varies = spread > 1e-10 * np.abs(values).max(axis=0, initial=0.0)
    return np.where(varies, centred, 0.0) / np.where(varies, spread, 1.0)


def correlations(left: np.ndarray, right: np.ndarray, ranks: bool = False) -> np.ndarray:
    """Absolute correlations (K, L) of the columns of (N, K) and (N, L); 0 for constant columns.

    Pearson, or Spearman with ``ranks=True`` (ties get their mean rank).
    """
    if ranks:
        left, right = rankdata(left, axis=0), rankdata(right, axis=0)
    products = standardise(left).T @ standardise(right)
    return np.minimum(np.abs(products) / len(left), 1.0)


def multiple_correlations(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Coefficient of multiple correlation R (K*,) of each factor on all codes, same rows."""
    design, target = standardise(codes), standardise(factors)
    weights = np.linalg.lstsq(design, target, rcond=None)[0]
    explained = (design @ weights).var(axis=0)
    return np.sqrt(np.clip(explained, 0.0, 1.0))


def held_out_r2(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """R^2 (K*,) of predictions, clipped below at 0 (no better than the mean); constant truth: 0."""
    total = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    error = ((truth - prediction) ** 2).sum(axis=0)
    return np.where(total > 0, np.clip(1 - error / np.where(total > 0, total, 1.0), 0.0, 1.0), 0.0)


def spline_correlations(
    codes: np.ndarray, factors: np.ndarray, codes_test: np.ndarray, factors_test: np.ndarray
) -> np.ndarray:
    """sqrt of held-out R^2 (K, K*) of each factor on a cubic spline of each single code.

    A code from which the factor can be computed scores near 1, by a monotone function or not; what
    the code has lost (the sign of z in z^2) stays lost. Codes enter as normal scores of their ranks
    in the training rows, so monotone transforms of a code change nothing; knots are octiles.
    """
    similarity = np.zeros((codes.shape[1], factors.shape[1]))
    for k, (train, test) in enumerate(zip(codes.T, codes_test.T, strict=True)):
        if not standardise(train[:, None]).any():
            continue
        values, counts = np.unique(train, return_counts=True)
        normal = norm.ppf((np.cumsum(counts) - counts / 2) / len(train))
        train, test = np.interp(train, values, normal), np.interp(test, values, normal)
        knots = np.unique(np.quantile(train, np.linspace(0, 1, 9)))
        spline = SplineTransformer(knots=knots[:, None])
        basis = spline.fit_transform(train[:, None])
        weights = np.linalg.lstsq(basis, factors, rcond=None)[0]
        prediction = spline.transform(test[:, None]) @ weights
        similarity[k] = np.sqrt(held_out_r2(factors_test, prediction))
    return similarity


def match(similarity: np.ndarray) -> np.ndarray:
    """Learned column (K*,) for every true one by the best one-to-one assignment; -1 where K < K*.

    ``similarity`` is (K, K*) and may be rectangular (Hungarian algorithm).
    """
    learned, true = linear_sum_assignment(similarity, maximize=True)
    matched = np.full(similarity.shape[1], -1)
    matched[true] = learned
    return matched


def matched_mean(similarity: np.ndarray) -> float:
    """Mean similarity over true columns after :func:`match`; a true column left over counts 0."""
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    return float(similarity[rows, columns].sum() / similarity.shape[1])


def in_true_order(values: np.ndarray, matched: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split the columns of ``values`` (G, K) into those matched to the truth and the rest.

    Returns (G, K*) in the order of the true factors, zeros (False) where nothing was matched, and
    the unmatched columns (G, K - number matched).
    """
    ordered = np.zeros((len(values), len(matched)), dtype=values.dtype)
    found = matched >= 0
    ordered[:, found] = values[:, matched[found]]
    return ordered, np.delete(values, matched[found], axis=1)


def fitted_rows(n: int, most: int = 1000) -> np.ndarray:
    """At most ``most`` of n training rows, drawn once for every method: bounds the cost of DCI."""
    return evaluation_rng("fitted_rows").permutation(n)[:most]


def boosted_importance(
    codes: np.ndarray, factors: np.ndarray, codes_test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Importance (K, K*) of codes in gradient boosted trees, and predictions for the test rows.

    scikit-learn's defaults, as in the paper's code, with a fixed seed (ties between features).
    """
    importance = np.zeros((codes.shape[1], factors.shape[1]))
    prediction = np.zeros((len(codes_test), factors.shape[1]))
    for k, factor in enumerate(factors.T):
        trees = GradientBoostingRegressor(random_state=0).fit(codes, factor)
        importance[:, k] = trees.feature_importances_
        prediction[:, k] = trees.predict(codes_test)
    return importance, prediction


def lasso_importance(
    codes: np.ndarray, factors: np.ndarray, codes_test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`boosted_importance`, with |coefficients| of Lasso on standardised codes.

    Codes and factors are standardised by training rows; the penalty is the largest whose 5-fold
    cross-validated error is within one standard error of the least (at the least itself, noise
    codes keep a chance coefficient, which counts as perfectly disentangled). Constant codes and
    factors get importance 0.
    """
    importance = np.zeros((codes.shape[1], factors.shape[1]))
    prediction = np.tile(factors.mean(axis=0), (len(codes_test), 1))
    design, target = standardise(codes), standardise(factors)
    spread = np.where(design.any(axis=0), codes.std(axis=0), np.inf)
    design_test = (codes_test - codes.mean(axis=0)) / spread
    if not design.any():
        return importance, prediction
    for k in np.flatnonzero(target.any(axis=0)):
        errors = LassoCV(cv=5, max_iter=10_000).fit(design, target[:, k])
        mean, spread = errors.mse_path_.mean(axis=1), errors.mse_path_.std(axis=1, ddof=1)
        least = np.argmin(mean)
        enough = mean <= mean[least] + spread[least] / np.sqrt(5)
        lasso = Lasso(alpha=errors.alphas_[enough].max(), max_iter=10_000).fit(design, target[:, k])
        importance[:, k] = np.abs(lasso.coef_)
        prediction[:, k] += factors[:, k].std() * lasso.predict(design_test)
    return importance, prediction


def disentanglement(importance: np.ndarray) -> float:
    """DCI disentanglement of an importance matrix (K, K*): how far each code serves one factor.

    1 minus the entropy (base K*) of each row, weighted by the row's share of all importance
    (Eastwood and Williams 2018). An empty matrix scores 0; with a single factor every code that
    is used at all serves one factor, which scores 1.
    """
    total = importance.sum()
    if total <= 0:
        return 0.0
    if importance.shape[1] == 1:
        return 1.0
    rows = importance[importance.sum(axis=1) > 0]
    shares = rows / rows.sum(axis=1, keepdims=True)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy = -(shares * logs).sum(axis=1) / np.log(importance.shape[1])
    return float(np.clip(((1 - entropy) * rows.sum(axis=1)).sum() / total, 0.0, 1.0))


def completeness(importance: np.ndarray) -> float:
    """DCI completeness: how far each factor is captured by one code; the transposed score."""
    return disentanglement(importance.T)


def f1(predicted: np.ndarray, true: np.ndarray, false_positives: int = 0) -> float:
    """F1 of two boolean arrays, with more false positives if given; 1 where there is nothing."""
    claimed = predicted.sum() + false_positives + true.sum()
    return float(2 * (predicted & true).sum() / claimed) if claimed else 1.0


def ranking_quality(scores: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """(AUROC, average precision) of scores against booleans, any shape, ties counted half.

    Without both classes nothing can be ranked: AUROC .5 and the share of positives.
    """
    scores, true = scores.ravel(), true.ravel()
    if true.all() or not true.any():
        return 0.5, float(true.mean())
    return float(roc_auc_score(true, scores)), float(average_precision_score(true, scores))


def support_ranking(
    effects: np.ndarray, matched: np.ndarray, true: np.ndarray
) -> tuple[float, float, float]:
    """How effects (G, K) rank a true support (G, K*): AUROC, average precision, AUROC of all.

    ``matched`` comes from :func:`match`. The last number adds the entries of unmatched columns, all
    of them negatives.
    """
    ordered, rest = in_true_order(effects, matched)
    auroc, precision = ranking_quality(ordered, true)
    wide = np.hstack([ordered, rest])
    auroc_all, _ = ranking_quality(wide, np.hstack([true, np.zeros(rest.shape, dtype=bool)]))
    return auroc, precision, auroc_all
