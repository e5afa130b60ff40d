"""Stacked linear layers: every tensor carries a leading replicate dimension R.

A stack of R small networks costs about as much Python as one. The price is that a matrix product
may round differently when its operands or its result start at another address: BLAS kernels choose
their path by alignment. `linear` therefore writes every product so that each replicate's slice
begins on a 64-byte boundary, which makes replicate r of a stack equal, bit for bit, to the same
replicate computed alone.
"""

import math
from typing import Any

import torch
from torch import Tensor

from anchorbench.models.state import State

ALIGN = 16
"""Floats in 64 bytes; slices of a stack begin at multiples of this."""


def round_up(size: int) -> int:
    """The least multiple of ALIGN that holds `size` floats."""
    return -(-size // ALIGN) * ALIGN


def aligned_empty(R: int, rows: int, columns: int, like: Tensor) -> Tensor:
    """An uninitialised (R, rows, columns) tensor whose every slice begins on the boundary."""
    size = rows * columns
    return like.new_empty(R, round_up(size))[:, :size].view(R, rows, columns)


def _product(a: Tensor, b: Tensor) -> Tensor:
    out = aligned_empty(a.shape[0], a.shape[1], b.shape[2], a)
    if 1 not in (a.shape[1], a.shape[2], b.shape[2]):
        return torch.bmm(a, b, out=out)
    for r in range(a.shape[0]):  # vectors: one alone would take another path than a stack of them
        torch.mm(a[r], b[r], out=out[r])
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        out = _product(x, weight.mT)
        return out if bias is None else out.add_(bias.unsqueeze(1))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        return (
            _product(grad, weight) if ctx.needs_input_grad[0] else None,
            _product(grad.mT, x) if ctx.needs_input_grad[1] else None,
            grad.sum(1) if ctx.needs_input_grad[2] else None,
        )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (R, B, in) times weight (R, out, in), plus bias (R, out): (R, B, out)."""
    out: Tensor = _Linear.apply(x, weight, bias)
    return out


def uniform(generator: torch.Generator, bound: float, *shape: int) -> Tensor:
    """Draws from U(-bound, bound)."""
    return (2 * torch.rand(*shape, generator=generator) - 1) * bound


def linear_init(generator: torch.Generator, n_out: int, n_in: int) -> tuple[Tensor, Tensor]:
    """PyTorch's default for a linear layer: weight (out, in), bias (out,), U(+-1/sqrt(in))."""
    bound = 1 / math.sqrt(n_in)
    return uniform(generator, bound, n_out, n_in), uniform(generator, bound, n_out)


def encoder_init(
    generator: torch.Generator, n_in: int, n_hidden: int, heads: dict[str, int]
) -> dict[str, Tensor]:
    """Two hidden layers of width `n_hidden` and one linear head per entry of `heads`.

    The paper's encoder has the heads {"mean": K, "logvar": K}.
    """
    sizes = {"encoder1": (n_hidden, n_in), "encoder2": (n_hidden, n_hidden)}
    sizes |= {name: (width, n_hidden) for name, width in heads.items()}
    parameters = {}
    for name, (n_out, n_fan_in) in sizes.items():
        parameters[f"{name}_weight"], parameters[f"{name}_bias"] = linear_init(
            generator, n_out, n_fan_in
        )
    return parameters


def encoder_hidden(s: State, x: Tensor) -> Tensor:
    """Linear-ReLU-Linear-ReLU: x (R, B, G) to (R, B, H); `s` carries `encoder_init`'s tensors."""
    h = torch.relu(linear(x, s.encoder1_weight, s.encoder1_bias))
    return torch.relu(linear(h, s.encoder2_weight, s.encoder2_bias))


def decoder_init(
    generator: torch.Generator, n_latent: int, n_hidden: int, n_out: int
) -> dict[str, Tensor]:
    """The paper's decoder: H1 (H, K) without bias, H2 (H, H), heads (G, H), one head per feature.

    A head per feature, Linear(H, 1), and one head Linear(H, G) have the same parameters and the
    same distribution at the start, so dense and masked decoders share this.
    """
    H1, _ = linear_init(generator, n_hidden, n_latent)
    H2, b2 = linear_init(generator, n_hidden, n_hidden)
    heads, head_bias = linear_init(generator, n_out, n_hidden)
    return {"H1": H1, "H2": H2, "b2": b2, "heads": heads, "head_bias": head_bias}


def dense_decoder(s: State, z: Tensor) -> Tensor:
    """The decoder without masks: z (R, B, K) to (R, B, G)."""
    h = torch.relu(linear(z, s.H1))
    h = torch.relu(linear(h, s.H2, s.b2))
    return linear(h, s.heads, s.head_bias)
