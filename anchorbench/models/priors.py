"""Priors and penalties: Gaussian factors, the spike-and-slab lasso, proximal maps.

All tensors carry a leading replicate dimension R. Equation numbers are those of Moran et al. 2022.
"""

import torch
from torch import Tensor

from anchorbench.models.members import logarithm
from anchorbench.models.nets import linear


def kl_standard(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, 1)) of every latent (eq. 54 before its sum): same shape."""
    return 0.5 * (mean.square() + torch.exp(logvar) - 1 - logvar)


def low_rank_covariance(C: Tensor) -> Tensor:
    """Sigma_z = C C' + I from C (R, K, 2): (R, K, K)."""
    return linear(C, C) + torch.eye(C.shape[1], device=C.device)


def cholesky_covariance(L: Tensor) -> Tensor:
    """Sigma_z = T T', T lower triangular with the log of its diagonal on L's: (R, K, K)."""
    T = torch.tril(L, -1) + torch.diag_embed(torch.exp(torch.diagonal(L, dim1=-2, dim2=-1)))
    return linear(T, T)


def diagonal_covariance(L: Tensor) -> Tensor:
    """Sigma_z = diag(exp(2 l_kk)) from L (R, K, K): (R, K, K)."""
    return torch.diag_embed(torch.exp(2 * torch.diagonal(L, dim1=-2, dim2=-1)))


def correlation(L: Tensor) -> Tensor:
    """`cholesky_covariance` with a unit diagonal: the scale of a factor is not learned twice."""
    covariance = cholesky_covariance(L)
    scale = torch.diagonal(covariance, dim1=-2, dim2=-1).rsqrt()
    return covariance * scale[:, :, None] * scale[:, None, :]


def kl_covariance(mean: Tensor, logvar: Tensor, covariance: Tensor) -> Tensor:
    """KL(N(mean, diag exp(logvar)) || N(0, Sigma_z)) of every row (eq. 59).

    mean, logvar (R, B, K), covariance (R, K, K) -> (R, B).
    """
    # Neither call looks at its result on the host, which a recorded step could not do.
    root, _ = torch.linalg.cholesky_ex(covariance)
    identity = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
    inverse = torch.linalg.solve_triangular(root, identity.expand_as(root), upper=False)
    log_det = 2 * torch.log(torch.diagonal(root, dim1=-2, dim2=-1)).sum(-1)
    trace = (torch.exp(logvar) * inverse.square().sum(-2)[:, None]).sum(-1)
    quadratic = linear(mean, inverse).square().sum(-1)
    return 0.5 * (trace + quadratic - mean.shape[-1] + log_det[:, None] - logvar.sum(-1))


def responsibility(
    W: Tensor, eta: Tensor, lambda0: Tensor, lambda1: float, exact: bool = True
) -> Tensor:
    """p* = E[gamma | w, eta] of eq. 55, the E-step: W (R, G, K), eta (R, K), lambda0 (R,).

    exact=False leaves out the Laplace normalisers lambda/2, as the released code does; then
    p* = eta at w = 0.
    """
    spike = lambda0[:, None, None]
    logit = torch.log(eta / (1 - eta))[:, None] + (spike - lambda1) * W.abs()
    if exact:
        logit = logit + logarithm(lambda1) - torch.log(spike)
    # torch.sigmoid rounds the ends of a tensor unlike its middle; division and exp do not.
    return 1 / (1 + torch.exp(-logit))


def slab_share(p_star: Tensor, a: float, b: float) -> Tensor:
    """eta_k of eq. 56 from p* (R, G, K): (R, K), kept inside (0, 1)."""
    eta = (p_star.sum(1) + a - 1) / (a + b + p_star.shape[1] - 2)
    return eta.clamp(1e-10, 1 - 1e-6)


def expected_rate(p_star: Tensor, lambda0: Tensor, lambda1: float) -> Tensor:
    """lambda* of eq. 58, the weight of |w_jk| given p* (R, G, K) and lambda0 (R,)."""
    return p_star * lambda1 + (1 - p_star) * lambda0[:, None, None]


def soft_threshold(W: Tensor, threshold: Tensor | float) -> Tensor:
    """The proximal map of threshold * |w|: shrinks towards zero, exact zeros within."""
    return torch.sign(W) * torch.relu(W.abs() - threshold)


def group_soft_threshold(W: Tensor, threshold: Tensor | float, dim: int) -> Tensor:
    """The proximal map of threshold * ||w||_2, a group being a line along `dim`."""
    norm = W.square().sum(dim, keepdim=True).sqrt()
    return W * torch.relu(1 - threshold / norm.clamp_min(torch.finfo(W.dtype).tiny))


def standard_normal_penalty(*tensors: Tensor) -> Tensor:
    """-log N(0, 1) of all entries up to a constant: tensors (R, ...) -> (R,)."""
    return torch.stack([0.5 * t.square().flatten(1).sum(-1) for t in tensors]).sum(0)
