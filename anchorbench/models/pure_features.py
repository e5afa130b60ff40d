"""LOVE: factors from the features that depend on one of them alone (Bing et al. 2020).

    x = A z + e,    z ~ N(0, C)

Pure features, whose row of A has one entry, are found from covariances alone, and with them the
number of factors, C and their rows of A; the other rows follow by a linear programme each. Two
rules find them: entries of +-1, compared by covariances (Bing, Bunea, Ning and Wegkamp 2020), or of
any size, by how nearly two rows of the correlation matrix are proportional (Bing, Bunea and
Wegkamp 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse.csgraph import connected_components

from anchorbench.models.linear import LinearFactors

GRID = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.1)
"""Constants c of the threshold c sqrt(log max(G, n) / n) that a sample split chooses among."""
Groups = list[list[int]]


@dataclass(frozen=True)
class Block:
    """The pure features of a covariance (or correlation) matrix.

    Attributes
    ----------
    groups : list of list of int
        Features by factor.
    entries : ndarray of shape (G,)
        a_j: the entry of row j of A, 0 of features that are not pure.
    C : ndarray of shape (K, K)
        Covariance of the factors.
    """

    groups: Groups
    entries: np.ndarray
    C: np.ndarray

    @property
    def members(self) -> list[int]:
        """Pure features in the order of their groups."""
        return [j for group in self.groups for j in group]

    @property
    def of_feature(self) -> np.ndarray:
        """Group (G,) of each feature, -1 of those that are not pure."""
        found = np.full(len(self.entries), -1)
        for k, group in enumerate(self.groups):
            found[group] = k
        return found

    @property
    def loadings(self) -> np.ndarray:
        """A (G, K), rows that are not pure 0."""
        A = np.zeros((len(self.entries), len(self.groups)))
        for k, group in enumerate(self.groups):
            A[group, k] = self.entries[group]
        return A


def threshold(c: float, n: int, n_features: int) -> float:
    """c sqrt(log max(G, n) / n), of the order of the largest error of a covariance."""
    return float(c * np.sqrt(np.log(max(n_features, n)) / n))


def equal_groups(S: np.ndarray, delta: float) -> Groups:
    """Pure features whose entries are +-1, from a covariance matrix S (G, G).

    M_j = max_l |S_jl| over l other than j, S_j = {l : M_j - |S_jl| <= 2 delta}; j is pure iff
    ||S_jl| - M_l| <= 2 delta for all l in S_j. Groups that meet are intersected.
    """
    A = np.abs(S)
    np.fill_diagonal(A, -np.inf)
    largest = A.max(axis=1)
    groups: list[set[int]] = []
    for j in range(len(A)):
        near = np.flatnonzero(largest[j] - A[j] <= 2 * delta)
        if (np.abs(A[j, near] - largest[near]) > 2 * delta).any():
            continue
        found = {j, *near.tolist()}
        meeting = next((group for group in groups if group & found), None)
        if meeting is None:
            groups.append(found)
        else:
            meeting &= found
    return [sorted(group) for group in groups if len(group) > 1]


def proportional_scores(R: np.ndarray) -> np.ndarray:
    """How far rows i and j of a correlation matrix are from proportional, (G, G); 0: they are.

    Without the diagonal of R and columns i and j, V is the 2 x 2 matrix of inner products of the
    two rows; the score is sqrt(min(V_ii, V_jj) (1 - V_ij^2 / (V_ii V_jj)) / (G - 2)), infinite on
    the diagonal. Two pure features of one factor have 0.
    """
    R = R - np.diag(np.diag(R))
    inner = R @ R
    own = np.diag(inner)[:, None] - R**2
    least, product = np.minimum(own, own.T), own * own.T
    cosine = np.divide(inner**2, product, out=np.zeros_like(R), where=product > 0)
    scores = np.sqrt(np.maximum(least * (1 - cosine), 0) / max(len(R) - 2, 1))
    np.fill_diagonal(scores, np.inf)
    return scores


def scaled_groups(R: np.ndarray, delta: float) -> Groups:
    """Pure features with entries of any size, from a correlation matrix R (G, G).

    Pairs with `proportional_scores` of delta or less are linked, connected ones are a group.
    Features that correlate with none above delta are left out: their rows are empty.
    """
    kept = np.flatnonzero(np.abs(R - np.diag(np.diag(R))).max(axis=1) >= delta)
    if len(kept) < 2:
        return []
    linked = proportional_scores(R[np.ix_(kept, kept)]) <= delta
    count, label = connected_components(linked, directed=False)
    groups = [kept[label == c].tolist() for c in range(count)]
    return [group for group in groups if len(group) > 1]


def block(S: np.ndarray, groups: Groups, scaled: bool) -> Block:
    """Entries and covariance of factors from groups; S is a correlation matrix if `scaled`."""
    entries = np.zeros(len(S))
    for group in groups:
        signs = np.where(S[group[0], group] < 0, -1.0, 1.0)
        signs[0] = 1.0
        entries[group] = signs * (_sizes(S, group) if scaled else 1.0)
    C = np.empty((len(groups), len(groups)))
    for k, group in enumerate(groups):
        for other, also in enumerate(groups[: k + 1]):
            part = S[group][:, also] / np.outer(entries[group], entries[also])
            apart = ~np.eye(len(group), dtype=bool) if k == other else np.ones_like(part, bool)
            C[k, other] = C[other, k] = part[apart].mean()
    if scaled:
        np.fill_diagonal(C, 1.0)
    return Block(groups, entries, C)


def _sizes(R: np.ndarray, group: list[int]) -> np.ndarray:
    """|a_i| = sqrt |R_ij R_il / R_jl|, the median over j in the group and l outside it."""
    outside = np.setdiff1d(np.arange(len(R)), group)
    sizes = []
    for i in group:
        partners = [member for member in group if member != i]
        ratios = np.abs(R[i, partners])[:, None]  # without other features: entries alike
        if len(outside):
            below = np.abs(R[partners][:, outside])
            above = ratios * np.abs(R[i, outside])
            firm = below > 0.5 * below.max()
            ratios = above[firm] / below[firm] if firm.any() else ratios
        sizes.append(np.sqrt(np.median(ratios)))
    return np.clip(sizes, 1e-3, 1.0)


def split_loss(S: np.ndarray, A: np.ndarray, C: np.ndarray, rows: list[int]) -> float:
    """How far A C A' is from other rows' S: root mean square off the diagonal, of some features."""
    error = (S - A @ C @ A.T)[np.ix_(np.array(rows), np.array(rows))]
    np.fill_diagonal(error, 0.0)
    return float(np.sqrt((error**2).sum() / (len(rows) * (len(rows) - 1))))


def covariances_with_factors(S: np.ndarray, found: Block) -> np.ndarray:
    """theta (K, G): (A_I' A_I)^-1 A_I' S_I, I the pure features."""
    pure = found.loadings[found.members]
    return np.linalg.solve(pure.T @ pure, pure.T @ S[found.members])


def least_squares_rows(S: np.ndarray, found: Block) -> np.ndarray:
    """A (G, K) with the rows that are not pure: C^-1 theta, small directions of C left out."""
    rows = (np.linalg.pinv(found.C, rcond=1e-3) @ covariances_with_factors(S, found)).T
    return np.where(found.of_feature[:, None] >= 0, found.loadings, rows)


def other_rows(S: np.ndarray, found: Block, delta: float) -> np.ndarray:
    """A (G, K) with the rows that are not pure: least |b|_1 with |C b - theta|_max <= delta.

    theta are the `covariances_with_factors`.
    """
    A, theta = found.loadings, covariances_with_factors(S, found)
    K = A.shape[1]
    bounds = np.block([[found.C, -found.C], [-found.C, found.C]])
    for j in np.setdiff1d(np.arange(len(S)), found.members):
        limits = np.concatenate([theta[:, j] + delta, delta - theta[:, j]])
        solution = linprog(np.ones(2 * K), A_ub=bounds, b_ub=limits)
        if solution.success:
            A[j] = solution.x[:K] - solution.x[K:]
        else:  # C is singular within delta: no row has these covariances
            A[j] = np.linalg.pinv(found.C) @ theta[:, j]
    return A


class Love(LinearFactors):
    """LOVE: pure features, then factors, then all loadings.

    Parameters
    ----------
    likelihood, n_latent, seed
        As in `LinearFactors`. `n_latent` bounds the codes alone: with fewer groups of pure features
        the other codes are 0, with more the largest groups are kept.
    anchors : {"equal", "scaled"}
        Whether pure features have entries of +-1, and the covariances of the columns as they are
        count, or entries of any size, and correlations do.
    c : float, optional
        Constant of the threshold; by default chosen by a split of the rows.

    Attributes
    ----------
    anchors_ : ndarray of shape (G,)
        Group of each pure feature, -1 of the others; all groups, kept or not.
    n_groups_ : int
        Number of factors that were found.
    support_ : ndarray of shape (G, K), bool
        Loadings that are not 0.
    """

    def __init__(
        self,
        likelihood: str = "gaussian",
        n_latent: int = 5,
        seed: int = 0,
        anchors: str = "equal",
        c: float | None = None,
    ) -> None:
        super().__init__(likelihood, n_latent, seed)
        self.anchors = anchors
        self.c = c

    def estimate(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Loadings, correlations of factors and noise of standardised X.

        Raises ValueError for an unknown word, a constant that is not above 0, and where no feature
        is pure.
        """
        if self.anchors not in ("equal", "scaled"):
            raise ValueError(f"anchors {self.anchors!r}: use equal or scaled")
        if self.c is not None and (isinstance(self.c, str | bool) or not 0 < self.c < np.inf):
            raise ValueError(f"c {self.c!r}: give a number above 0, or None to have it chosen")
        sd = np.ones(X.shape[1]) if self.anchors == "scaled" else self.columns_.sd
        raw = X * sd
        found, delta = self._pure(raw)
        self.anchors_, self.n_groups_ = found.of_feature, len(found.groups)
        if len(found.groups) > self.n_latent:
            largest = sorted(found.groups, key=len, reverse=True)[: self.n_latent]
            found = block(_moments(raw), largest, self.anchors == "scaled")
        A = other_rows(_moments(raw), found, delta)
        root = np.sqrt(np.maximum(np.diag(found.C), 1e-6))
        L, phi = np.zeros((X.shape[1], self.n_latent)), np.eye(self.n_latent)
        used = slice(0, len(found.groups))
        L[:, used] = A * root / sd[:, None]
        phi[used, used] = nearest_correlation(found.C / np.outer(root, root))
        self.support_ = L != 0
        return L, phi, 1 - np.einsum("jk,kl,jl->j", L, phi, L)

    def _pure(self, X: np.ndarray) -> tuple[Block, float]:
        """Pure features of X (N, G), and the threshold: that of least `split_loss` on half.

        With equal entries the loss is that of the pure features (LOVE's own rule). Scaled ones need
        it over all features: it then counts a factor that was missed, too.
        """
        n, G = X.shape
        if G == 1:
            raise ValueError("n_features = 1: pure features come in pairs; give two or more")
        order = np.random.default_rng(self.seed).permutation(n)
        one, other = (_moments(X[rows]) for rows in (order[: n // 2], order[n // 2 :]))
        losses = {}
        for c in GRID if self.c is None else (self.c,):
            found = self._groups(one, threshold(c, n // 2, G))
            losses[c] = self._loss(one, other, found) if found.groups else np.inf
        for c in sorted(losses, key=lambda c: losses[c]):
            delta = threshold(c, n, G)
            found = self._groups(_moments(X), delta)
            if found.groups:
                return found, delta
        raise ValueError("no feature is pure: LOVE finds no factor in these data")

    def _loss(self, one: np.ndarray, other: np.ndarray, found: Block) -> float:
        if self.anchors == "equal":
            return split_loss(other, found.loadings, found.C, found.members)
        A = least_squares_rows(one, found)
        return split_loss(other, A, found.C, list(range(len(A))))

    def _groups(self, S: np.ndarray, delta: float) -> Block:
        scaled = self.anchors == "scaled"
        groups = (scaled_groups if scaled else equal_groups)(S, delta)
        return block(S, groups, scaled)


def _moments(X: np.ndarray) -> np.ndarray:
    """Covariance matrix of columns of mean 0; a correlation matrix where they are standardised."""
    return X.T @ X / len(X) - np.outer(X.mean(axis=0), X.mean(axis=0))


def nearest_correlation(C: np.ndarray, least: float = 1e-2) -> np.ndarray:
    """C with eigenvalues of at least `least` and a diagonal of 1 (K, K)."""
    values, vectors = np.linalg.eigh((C + C.T) / 2)
    raised = (vectors * np.maximum(values, least)) @ vectors.T
    root = np.sqrt(np.diag(raised))
    return raised / np.outer(root, root)
