"""Draws from sparse decoders whose assumptions are dials, and what of them holds as measured.

    x_ij = f_j(w_j * z_i) + noise s_j e_ij,    z_i ~ a Gaussian copula with correlation rho

s_j is the standard deviation of f_j (1 for the linear link). Rows 0 .. anchors K - 1 of the mask W
are anchors, `anchors` of them a factor, in blocks; the others depend on `density` factors each. The
assumptions are those of Moran et al. (2022): A1, two anchor features a factor with one function;
A2, an anchor covaries more with its partner than with any other feature; A3, the factors'
covariances stay below their variances.

Every ingredient is drawn from a generator of its own, named by what it is for (a factor, a row, a
column of noise): two designs drawn with one seed share all that their parameters leave alone.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import norm

from anchorbench.data.dataset import DataError

LINKS = ("linear", "relu", "relu_any", "additive", "structural", "paper")
FORMS = ("equal", "scaled", "different", "even", "noninvertible")
KINDS = ("gaussian", "uniform", "laplace", "lognormal")
SETTLED: dict[str, dict[str, Any]] = {
    "structural": {"anchors": 0, "density": 2},
    "paper": {"anchors": 0, "density": 2, "n_factors": 2, "n_features": 7},
}
"""Parameters that a link settles; `additive` has no anchors, and rows of all factors."""
WIDTH = 50
LEAST_END = 0.3
"""|f(1)| and |f(-1)| of an invertible anchor are larger."""
SCALE_DRAWS = 20_000
"""Noiseless rows by which the size of a feature, and so of its noise, is measured."""
MARGIN_DRAWS = 200_000
_BLOCK = 20_000
Function = Callable[[np.ndarray], np.ndarray]
Part = tuple[list[int], Function]


@dataclass(frozen=True)
class Design:
    """The parameters of `datasets/theory.py`, as they are asked for.

    Raises DataError for a design that cannot be drawn.
    """

    n: int = 2000
    n_factors: int = 4
    n_features: int = 24
    anchors: int = 2
    form: str = "equal"
    dominance: float | None = None
    rho: float = 0.3
    noise: float = 0.3
    kind: str = "gaussian"
    density: int = 2
    link: str = "relu"

    def __post_init__(self) -> None:
        """Check what the parameters say, one by one and together."""
        for name, words in (("link", LINKS), ("form", FORMS), ("kind", KINDS)):
            if getattr(self, name) not in words:
                raise _impossible(f"{name} {getattr(self, name)!r}", f"use {', '.join(words)}")
        for name, least in (("n", 10), ("n_factors", 2), ("n_features", 2), ("density", 1)):
            if getattr(self, name) < least:
                raise _impossible(f"{name} {getattr(self, name)}", f"give {least} or more")
        if not 0 <= self.rho < 1:
            raise _impossible(f"rho {self.rho}", "give a correlation of at least 0, below 1")
        if self.noise < 0 or self.c <= 0 or self.anchors < 0:
            raise _impossible(
                f"noise {self.noise}, dominance {self.c}, anchors {self.anchors}",
                "noise and anchors are 0 or more, dominance is positive",
            )
        self._check_together()

    def _check_together(self) -> None:
        K, used = self.n_factors, self.resolved
        needed = used.anchors * used.n_factors + (used.density > 1)
        if used.n_features < needed:
            raise _impossible(
                f"n_features {self.n_features} for {self.anchors} anchors of each of {K} factors",
                f"give {needed} features or more",
            )
        if used.density > used.n_factors:
            raise _impossible(f"density {self.density} of {K} factors", f"give at most {K}")
        if self.link == "structural" and self.n_features < K:
            raise _impossible(
                f"link structural with {self.n_features} features of {K} factors",
                f"a cycle of pairs needs {K} features or more",
            )
        if self.form == "noninvertible" and self.link not in ("relu", "relu_any"):
            raise _impossible(
                f"form noninvertible with link {self.link}", "use form even, or link relu"
            )
        if self.form != "equal" and used.anchors == 0:
            raise _impossible(
                f"form {self.form} without anchors", "give anchors, with a link that has them"
            )

    @property
    def c(self) -> float:
        """Dominance: the L1 norm of a row that is no anchor (linear), or its weights."""
        default = 0.8 if self.link == "linear" else 0.5
        return default if self.dominance is None else self.dominance

    @cached_property
    def resolved(self) -> Design:
        """The design with the parameters that its link settles."""
        changes = SETTLED.get(self.link, {})
        if self.link == "additive":
            changes = {"anchors": 0, "density": self.n_factors}
        if all(getattr(self, name) == value for name, value in changes.items()):
            return self
        return replace(self, **changes)


def _impossible(what: str, remedy: str) -> DataError:
    return DataError(f"theory: {what} is not possible: {remedy}")


def stream(seed: int, *names: object) -> np.random.Generator:
    """A generator for one ingredient of a draw, whatever others there are."""
    return np.random.default_rng([seed, zlib.crc32(" ".join(map(str, names)).encode())])


@dataclass(frozen=True)
class World:
    """A decoder: what does not change from row to row.

    Attributes
    ----------
    design : Design
        With what its link settles.
    seed : int
    support : ndarray of shape (G, K), bool
    parts : list of (list of int, callable)
        Features, and the function from factors (N, K) to their expectations (N, len(features)).
    sizes : ndarray of shape (G,)
        What expectations are multiplied by.
    """

    design: Design
    seed: int
    support: np.ndarray
    parts: list[Part]
    sizes: np.ndarray

    def expected(self, Z: np.ndarray) -> np.ndarray:
        """E[x | z], (N, G), of factors (N, K)."""
        out = np.empty((len(Z), len(self.support)))
        for start in range(0, len(Z), _BLOCK):
            rows = slice(start, start + _BLOCK)
            for features, function in self.parts:
                out[rows, features] = function(Z[rows])
        return out * self.sizes

    @cached_property
    def scales(self) -> np.ndarray:
        """s_j (G,): standard deviations of the expectations; 1 for the linear link."""
        if self.design.link == "linear":
            return np.ones(len(self.support))
        return self.expected(factors(self.design, SCALE_DRAWS, self.seed, "scale")).std(axis=0)

    def draw(self, n: int, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Factors (n, K), expectations and features (n, G); more rows leave the first as they are.

        side : "train" or "test", whose rows are independent.
        """
        Z = factors(self.design, n, self.seed, side)
        expected = self.expected(Z)
        columns = range(len(self.support))
        noise = [stream(self.seed, side, "noise", j).standard_normal(n) for j in columns]
        return Z, expected, expected + self.design.noise * self.scales * np.stack(noise, axis=1)


def factors(design: Design, n: int, seed: int, side: str) -> np.ndarray:
    """Factors (n, K) of unit variance, Gaussian or with other margins in a Gaussian copula.

    rho is the correlation of the Gaussians. A row is L e, L the Cholesky factor, so that more
    factors leave the first as they are.
    """
    K = design.n_factors
    e = [stream(seed, side, "factor", k).standard_normal(n) for k in range(K)]
    C = np.full((K, K), design.rho) + (1 - design.rho) * np.eye(K)
    g = np.stack(e, axis=1) @ np.linalg.cholesky(C).T
    if design.kind == "uniform":
        return math.sqrt(12) * (norm.cdf(g) - 0.5)
    if design.kind == "laplace":  # the smaller tail keeps its digits
        return -np.sign(g) * np.log(2 * norm.sf(np.abs(g))) / math.sqrt(2)
    if design.kind == "lognormal":
        return (np.exp(g) - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e)
    return g


def world(design: Design, seed: int) -> World:
    """Draw the mask and the decoder of a design."""
    used = design.resolved
    K, G = used.n_factors, used.n_features
    sizes, anchored = np.ones(G), range(used.anchors * K)
    support = PAPER if used.link == "paper" else _support(used, seed)
    if used.form == "scaled":
        sizes[: len(anchored)] = [stream(seed, "size", j).uniform(0.5, 2.0) for j in anchored]
    if used.link == "paper":
        parts: list[Part] = [(list(range(G)), _paper)]
    elif used.link == "linear":
        parts = [(list(range(G)), _linear(_weights(used, seed, support)))]
    elif used.link == "additive":
        parts = [([j], _waves(seed, j, K)) for j in range(G)]
    elif used.link == "structural":
        parts = [([j], _pair(seed, j, K)) for j in range(G)]
    else:
        parts = _relu(used, seed, support)
    if used.form in ("different", "even"):
        parts += [([j], _shape(used, j)) for j in anchored]  # in place of what these rows had
    return World(used, seed, support, parts, sizes)


def _support(design: Design, seed: int) -> np.ndarray:
    """The mask (G, K): anchors in blocks, cyclic pairs, or rows drawn without replacement."""
    K = design.n_factors
    support = np.zeros((design.n_features, K), dtype=bool)
    for j in range(design.n_features):
        if j < design.anchors * K:
            support[j, j // design.anchors] = True
        elif design.link == "structural":
            support[j, [j % K, (j + 1) % K]] = True
        else:
            order = np.argsort(stream(seed, "row", j).random(K))
            support[j, order[: design.density]] = True
    return support


# ---- links --------------------------------------------------------------------------------------

PAPER = np.array([[1, 1, 1, 0, 0, 0, 1], [0, 0, 0, 1, 1, 1, 1]], dtype=bool).T


def _paper(Z: np.ndarray) -> np.ndarray:
    """The seven functions of eq. (9) of Moran et al. (2022)."""
    a, b = Z.T
    return np.stack([a, 2 * a, 3 * a**2, 4 * b, 5 * b, 6 * np.sin(b), 7 * a * b], axis=1)


def _weights(design: Design, seed: int, support: np.ndarray) -> np.ndarray:
    """A (G, K) of x = A z: anchors +-1, other rows c times signed Dirichlet(3) weights."""
    A = np.zeros(support.shape)
    for j, row in enumerate(support):
        rng = stream(seed, "weights", j)
        sign = rng.choice([-1.0, 1.0], size=len(row))
        A[j] = sign * row
        if j >= design.anchors * design.n_factors:
            A[j] *= rng.gamma(3.0, size=len(row))
            A[j] *= design.c / np.abs(A[j]).sum()
    return A


def _linear(A: np.ndarray) -> Function:
    return lambda Z: Z @ A.T


def _relu(design: Design, seed: int, support: np.ndarray) -> list[Part]:
    """f_j(z) = h_j' ReLU(H2 ReLU(H1 (w_j * z))), no biases (Moran et al. 2022, appendix A.3).

    Anchors of a factor share their head h and the weight 1. It is drawn until f is invertible
    (`relu`), until it is not (form `noninvertible`), or once (`relu_any`). Features with the same
    weights w share the hidden layers.
    """
    K = design.n_factors
    columns = [stream(seed, "first layer", k).standard_normal(WIDTH) for k in range(K)]
    first = np.stack(columns, axis=1) * math.sqrt(2)
    second = stream(seed, "second layer").standard_normal((WIDTH, WIDTH)) * math.sqrt(2 / WIDTH)
    heads = [
        _head(design, seed, k, _net(first, second, np.eye(K)[k], np.eye(WIDTH))) for k in range(K)
    ]
    alike: dict[tuple[float, ...], list[tuple[int, np.ndarray]]] = {}
    for j, row in enumerate(support):
        anchor = j < design.anchors * K
        weights = row * (1.0 if anchor else design.c)
        head = heads[j // design.anchors] if anchor else next(_heads(seed, "head", j))
        alike.setdefault(tuple(weights), []).append((j, head))
    return [
        (
            [j for j, _ in rows],
            _net(first, second, np.array(weights), np.stack([head for _, head in rows], axis=1)),
        )
        for weights, rows in alike.items()
    ]


def _net(first: np.ndarray, second: np.ndarray, weights: np.ndarray, heads: np.ndarray) -> Function:
    """To m features; layers are first (WIDTH, K), second (WIDTH, WIDTH) and heads (WIDTH, m)."""
    used = np.flatnonzero(weights)
    inward = weights[used, None] * first[:, used].T
    return lambda Z: np.maximum(np.maximum(Z[:, used] @ inward, 0) @ second.T, 0) @ heads


def _heads(seed: int, *names: object) -> Iterator[np.ndarray]:
    """Heads (WIDTH,), one after the other."""
    rng = stream(seed, *names)
    while True:
        yield rng.standard_normal(WIDTH) / math.sqrt(WIDTH)


def _head(design: Design, seed: int, k: int, hidden: Function) -> np.ndarray:
    """The head of factor k's anchors: the first that the design takes."""
    unit = np.eye(design.n_factors)[k]
    ends = hidden(np.stack([unit, -unit]))
    heads = _heads(seed, "anchor", k)
    while True:
        head = next(heads)
        up, down = ends @ head
        # Piecewise linear with a knot at 0: invertible iff the two ends have opposite signs.
        if design.form == "noninvertible":
            taken = up * down > 0
        else:
            taken = up * down < 0 and min(abs(up), abs(down)) > LEAST_END
        if taken or (design.link == "relu_any" and design.form != "noninvertible"):
            return head


def _waves(seed: int, j: int, K: int) -> Function:
    """sum_k a sin(b z_k + d) + b z_k / 2 (additive decoders, Lachapelle et al. 2023)."""
    rng = stream(seed, "waves", j)
    a = rng.uniform(0.5, 1, (K, 1))
    b = rng.uniform(0.5, 2, (K, 1))
    d = rng.uniform(0, 2 * np.pi, (K, 1))
    return lambda Z: (a.T * np.sin(b.T * Z + d.T) + 0.5 * b.T * Z).sum(axis=1, keepdims=True)


def _pair(seed: int, j: int, K: int) -> Function:
    """tanh(u z_a + v z_b) + .3 z_a of a cyclic pair in either order; u is near 2, |v| near 1."""
    rng = stream(seed, "gains", j)
    u, v = rng.uniform(1, 3), rng.uniform(0.5, 1.5) * rng.choice([-1, 1])
    pair = [j % K, (j + 1) % K]
    a, b = pair if (j // K) % 2 == 0 else pair[::-1]
    return lambda Z: (np.tanh(u * Z[:, a] + v * Z[:, b]) + 0.3 * Z[:, a])[:, None]


def _shape(design: Design, j: int) -> Function:
    """The function of anchor row j where anchors are even, or differ."""
    k, place = divmod(j, design.anchors)
    if design.form == "even":
        return lambda Z: Z[:, [k]] ** 2 / math.sqrt(2)
    shapes: list[Function] = [lambda t: t, lambda t: np.sinh(t) / 1.8, lambda t: 2 * np.tanh(t)]
    return lambda Z: shapes[place % 3](Z[:, [k]])


# ---- what holds, as measured --------------------------------------------------------------------


@dataclass(frozen=True)
class Assumptions:
    """What a decoder and its factors satisfy, measured.

    Attributes
    ----------
    anchors : int
        Features that depend on one factor alone: of the factor with the fewest.
    difference : float
        max_z |f_j - f_l| over z in [-3, 3], up to sign, of the two most alike anchors of a factor;
        the factor with the largest. NaN with fewer than two anchors.
    invertible : bool
        Whether every factor has an anchor whose function is monotone over these z.
    a2_margin : float
        Least |Cov(x_j, x_l)| - |Cov(x_j, x_m)| over anchors j, l of a factor and features m that
        are no anchors, without noise; NaN without anchor pairs, infinite without other features.
    a3_margin : float
        Least C_kk - |C_kl| of the factors' covariance.
    structural : bool
        Structural sparsity (Zheng, Ng and Zhang 2022): for every factor, features that depend on it
        have nothing else in common.
    additive : bool
        The decoder is a sum of functions of one factor, with [g'_k, g''_k] of rank 2K everywhere
        that was looked at (Lachapelle et al. 2023).
    """

    anchors: int
    difference: float
    invertible: bool
    a2_margin: float
    a3_margin: float
    structural: bool
    additive: bool

    @property
    def a1(self) -> bool:
        """Two anchors a factor with one function, up to sign."""
        return self.anchors >= 2 and self.difference < 1e-6

    @property
    def a2(self) -> bool:
        """Anchors dominate; holds of nothing where there are no pairs."""
        return self.a2_margin > 0

    @property
    def a3(self) -> bool:
        """Factors are not copies of each other."""
        return self.a3_margin > 0


def assumptions(made: World, draws: int = MARGIN_DRAWS) -> Assumptions:
    """Measure which assumptions a decoder satisfies; margins are over noiseless draws."""
    Z = factors(made.design, draws, made.seed, "margin")
    C = np.cov(Z.T)
    others = np.abs(C - np.diag(np.diag(C))).max(axis=1)
    covariance = np.abs(np.cov(made.expected(Z).T))
    pure = made.support.sum(axis=1) == 1
    group = np.where(pure, made.support.argmax(axis=1), -1)
    curves = [_curves(made, group, k) for k in range(made.design.n_factors)]
    steps = [np.diff(of_factor, axis=0) for of_factor in curves]
    return Assumptions(
        anchors=int(made.support[pure].sum(axis=0).min()),
        difference=float(np.max([_difference(of_factor) for of_factor in curves])),
        invertible=all(bool(((s > 0).all(0) | (s < 0).all(0)).any()) for s in steps),
        a2_margin=_dominance(covariance, group),
        a3_margin=float((np.diag(C) - others).min()),
        structural=structural_sparsity(made.support),
        additive=_is_additive(made),
    )


def _curves(made: World, group: np.ndarray, k: int) -> np.ndarray:
    """Anchors of factor k (121, number of anchors) over a grid of it."""
    Z = np.zeros((121, made.design.n_factors))
    Z[:, k] = np.linspace(-3, 3, len(Z))
    return made.expected(Z)[:, group == k]


def _difference(curves: np.ndarray) -> float:
    """Largest gap of the two curves most alike up to sign; NaN of fewer than two."""
    pairs = combinations(curves.T, 2)
    gaps = [min(np.abs(f - g).max(), np.abs(f + g).max()) for f, g in pairs]
    return float(min(gaps, default=math.nan))


def _dominance(covariance: np.ndarray, group: np.ndarray) -> float:
    """A2's margin from absolute covariances (G, G)."""
    rest = np.flatnonzero(group < 0)
    pairs = [
        (j, other)
        for j in np.flatnonzero(group >= 0)
        for other in np.flatnonzero(group == group[j])
        if other != j
    ]
    if not pairs:
        return math.nan
    if not len(rest):
        return math.inf
    return float(min(covariance[j, other] - covariance[j, rest].max() for j, other in pairs))


def structural_sparsity(support: np.ndarray) -> bool:
    """Whether for every factor the features that depend on it have nothing else in common.

    The intersection over all of them is the smallest, so others need not be tried. support : (G, K)
    bool.
    """
    common = [support[support[:, k]].all(axis=0) for k in range(support.shape[1])]
    return all(support[:, k].any() and row.sum() == 1 for k, row in enumerate(common))


def _is_additive(made: World, places: int = 20, step: float = 1e-3) -> bool:
    """Whether mixed differences vanish and first and second derivatives have rank 2K."""
    K, G = made.design.n_factors, len(made.support)
    rng = stream(0, "places")
    at = rng.uniform(-2, 2, (places, K))
    base = made.expected(at)
    size = np.abs(base).max()
    for k, other in combinations(range(K), 2):
        move, also = np.eye(K)[k], np.eye(K)[other]
        both, one, two = (made.expected(at + d) for d in (move + also, move, also))
        if np.abs(both - one - two + base).max() > 1e-8 * size:
            return False
    if 2 * K > G:
        return False
    up, down = (np.stack([made.expected(at + s * step * e) for e in np.eye(K)]) for s in (1, -1))
    slopes, bends = (up - down) / (2 * step), (up - 2 * base + down) / step**2
    stacked = np.concatenate([slopes, bends]).transpose(1, 2, 0)  # (places, G, 2K)
    sizes = np.linalg.svd(stacked, compute_uv=False)
    return bool((sizes[:, -1] > 1e-4 * sizes[:, 0]).all())


def identified_by(design: Design, found: Assumptions) -> str:
    """The results that say the factors are identified: "A1-A3", "additivity", … or "none".

    Independent factors of which none is Gaussian are identified from linear mixtures (Comon 1994).
    """
    theorem = found.a1 and found.a2 and found.a3
    results = {
        "A1-A3": theorem and found.invertible,
        "A1-A3 without an inverse": theorem and not found.invertible,
        "structural sparsity": found.structural,
        "additivity": found.additive,
        "non-Gaussian": design.link == "linear" and design.kind != "gaussian" and design.rho == 0,
    }
    return ", ".join(name for name, holds in results.items() if holds) or "none"
