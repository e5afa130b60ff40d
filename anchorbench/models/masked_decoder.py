"""The masked decoder of the sparse VAE for every feature at once.

The model (Moran et al. 2022, equation 1) gives feature j its own view of the factors, so the paper
runs the decoder once per feature. All functions here compute that same value and share one
signature; R stacks independent replicates:

    z (R, B, K), mask (R, G, K), H1 (R, H, K), H2 (R, H, H), b2 (R, H), heads (R, G, H),
    head_bias (R, G)  ->  (R, B, G)

    out[r, b, j] = heads[r, j] . relu(H2[r] relu(H1[r] (mask[r, j] * z[r, b])) + b2[r])
                   + head_bias[r, j]

The first layer has no bias. `naive_decoder` is the paper's loop and the reference,
`batched_decoder` the same in three products, and `masked_decoder` the one that the models use.
"""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from threading import Barrier
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Tile = tuple[slice, slice]
T = TypeVar("T")

# Hidden units (rows x H) of one tile. On a CPU a tile's four arrays stay in the L2 and L3 caches
# (and MKL's products lose up to half their rate beyond); elsewhere it only bounds the memory.
CPU_TILE = 1 << 18
DEVICE_TILE = 1 << 26

# The share of tiles whose second hidden layer is kept for the backward pass; the others are
# computed again. All of them would save a few per cent more time for half as much memory again.
KEEP = 2 / 3

_relu_backward_ = torch.ops.aten.threshold_backward.grad_input


def naive_decoder(
    z: Tensor,
    mask: Tensor,
    H1: Tensor,
    H2: Tensor,
    b2: Tensor,
    heads: Tensor,
    head_bias: Tensor,
) -> Tensor:
    """The paper's loop, one decoder pass per replicate and feature: the reference."""
    replicates = []
    for r in range(z.shape[0]):
        columns = []
        for j in range(mask.shape[1]):
            h1 = torch.relu((mask[r, j] * z[r]) @ H1[r].T)
            h2 = torch.relu(h1 @ H2[r].T + b2[r])
            columns.append(h2 @ heads[r, j] + head_bias[r, j])
        replicates.append(torch.stack(columns, dim=1))
    return torch.stack(replicates)


def batched_decoder(
    z: Tensor,
    mask: Tensor,
    H1: Tensor,
    H2: Tensor,
    b2: Tensor,
    heads: Tensor,
    head_bias: Tensor,
) -> Tensor:
    """The loop as batched products; autograd keeps every (R, B*G, H) hidden layer in memory."""
    R, B, K = z.shape
    G, H = heads.shape[1:]
    masked = z[:, :, None, :] * mask[:, None, :, :]
    h1 = torch.relu(torch.bmm(masked.reshape(R, B * G, K), H1.transpose(1, 2)))
    h2 = torch.relu(torch.baddbmm(b2[:, None, :], h1, H2.transpose(1, 2)))
    return (h2.reshape(R, B, G, H) * heads[:, None]).sum(-1) + head_bias[:, None, :]


def masked_decoder(
    z: Tensor,
    mask: Tensor,
    H1: Tensor,
    H2: Tensor,
    b2: Tensor,
    heads: Tensor,
    head_bias: Tensor,
    precision: torch.dtype | None = None,
) -> Tensor:
    """The decoder in tiles of features, with its own backward pass.

    Of the hidden layers only a share of the second is kept for the backward pass (KEEP).
    Without gradients nothing is kept and long inputs also go through in blocks of rows. On one
    thread, the result and the gradients of a replicate are bitwise the same whatever R is.

    precision: dtype of the products and hidden layers, by default that of z. With torch.bfloat16
    the products accumulate in float32, and inputs, output and gradients keep their dtype.
    """
    arguments = (mask, H1, H2, b2, heads, head_bias)
    dtype = precision or z.dtype
    if torch.is_grad_enabled() and any(a.requires_grad for a in (z, *arguments)):
        return _MaskedDecoder.apply(z, *arguments, dtype)
    rows = max(1, _tile_size(z) // heads.shape[2])
    parts = [_forward(part, *arguments, dtype, keep=False)[0] for part in z.split(rows, 1)]
    return torch.cat(parts, 1)


class _MaskedDecoder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        ctx.dtype = arguments[-1]
        out, hidden = _forward(*arguments, keep=True)
        ctx.save_for_backward(*arguments[:6], *hidden)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients = _backward(grad, ctx.saved_tensors[6:], ctx.dtype, *ctx.saved_tensors[:6])
        return (*gradients, grad.sum(1), None)


def _forward(
    z: Tensor,
    mask: Tensor,
    H1: Tensor,
    H2: Tensor,
    b2: Tensor,
    heads: Tensor,
    head_bias: Tensor,
    dtype: torch.dtype,
    *,
    keep: bool,
) -> tuple[Tensor, list[Tensor | None]]:
    """The output and each tile's second hidden layer, (replicates, B, features, H), if kept."""
    out = z.new_empty(*z.shape[:2], heads.shape[1])
    z, W2 = _aligned(z, dtype), _aligned(H2.mT, dtype)
    bias, readout = b2[:, None].to(dtype), heads[:, None].to(dtype)

    @torch.no_grad()
    def work(tiles: Sequence[Tile]) -> list[Tensor | None]:
        scratch, hidden = _Scratch(z), []
        for i, (rs, js) in enumerate(tiles):
            _, h1 = _first_layer(z[rs], mask[rs, js], H1[rs], scratch)
            kept = keep and i < KEEP * len(tiles)
            h2 = _empty(h1.shape, h1) if kept else scratch("h2", h1.shape)
            _second_layer(h1, W2[rs], bias[rs], h2)
            out[rs, :, js] = torch.mul(h2, readout[rs, :, js], out=h1).sum(-1, dtype=out.dtype)
            hidden.append(h2 if kept else None)
        return hidden

    parts = _share(work, _tiles(z, heads), z.device)
    out += head_bias[:, None]
    return out, [h2 for part in parts for h2 in part]


def _backward(
    grad: Tensor,
    hidden: Sequence[Tensor | None],
    dtype: torch.dtype,
    z: Tensor,
    mask: Tensor,
    H1: Tensor,
    H2: Tensor,
    b2: Tensor,
    heads: Tensor,
) -> tuple[Tensor, ...]:
    """The gradients of z, mask, H1, H2, b2 and heads."""
    d_mask, d_heads = torch.empty_like(mask), torch.empty_like(heads)
    shared = (z, H1, H2, b2)
    z, W2 = _aligned(z, dtype), _aligned(H2, dtype)
    W2T, bias = _aligned(H2.mT, dtype), b2[:, None].to(dtype)
    readout, grad = heads[:, None].to(dtype), grad[..., None].to(dtype)

    @torch.no_grad()
    def work(tiles: Sequence[tuple[Tensor | None, Tile]]) -> tuple[Tensor, ...]:
        scratch = _Scratch(z)
        d_z, d_H1, d_H2, d_b2 = (torch.zeros_like(a) for a in shared)
        for h2, (rs, js) in tiles:
            M, h1 = _first_layer(z[rs], mask[rs, js], H1[rs], scratch)
            if h2 is None:
                h2 = _second_layer(h1, W2T[rs], bias[rs], scratch("h2", h1.shape))
            g = grad[rs, :, js]
            d2 = torch.mul(h2, g, out=scratch("d2", h2.shape))
            d_heads[rs, js] = d2.sum(1, dtype=d_heads.dtype)
            torch.mul(readout[rs, :, js], g, out=d2)
            d2 = _relu_backward_(d2, h2, 0, grad_input=d2).flatten(1, 2)
            d_b2[rs] += d2.sum(1, dtype=d_b2.dtype)
            d_H2[rs] += _product(d2.mT, h1.flatten(1, 2), scratch("d_H2", W2[rs].shape))
            d1 = _product(d2, W2[rs], scratch("d1", d2.shape)).view_as(h1)
            d1 = _relu_backward_(d1, h1, 0, grad_input=d1).flatten(2)
            d_z[rs] += _product(d1, M.mT, scratch("d_z", z[rs].shape))
            d_M = _product(z[rs].mT, d1, scratch("d_M", M.shape))
            d_M = d_M.unflatten(2, h1.shape[2:]).to(mask.dtype)
            d_mask[rs, js] = (d_M * H1[rs].mT[:, :, None]).sum(-1).mT
            d_H1[rs] += (d_M * mask[rs, js].mT[..., None]).sum(2).mT
        return d_z, d_H1, d_H2, d_b2

    parts = _share(work, list(zip(hidden, _tiles(z, heads), strict=True)), z.device)
    d_z, d_H1, d_H2, d_b2 = (torch.stack(shares).sum(0) for shares in zip(*parts, strict=True))
    return d_z, d_mask, d_H1, d_H2, d_b2, d_heads


class _Scratch:
    """Named buffers that every tile uses again, so that the cache and not malloc provides them."""

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.buffers: dict[str, Tensor] = {}

    def __call__(self, name: str, shape: tuple[int, ...]) -> Tensor:
        strides = _strides(shape, self.like.element_size())
        size = shape[0] * strides[0]
        if name not in self.buffers or self.buffers[name].numel() < size:
            self.buffers[name] = self.like.new_empty(size)
        return self.buffers[name].as_strided(shape, strides)


def _first_layer(z: Tensor, mask: Tensor, H1: Tensor, scratch: _Scratch) -> tuple[Tensor, Tensor]:
    """Effective weights M[k, (j, h)] = mask[j, k] H1[h, k], and relu(z M): (r, B, features, H)."""
    (R, B, K), J, H = z.shape, mask.shape[1], H1.shape[1]
    M = torch.mul(mask.mT[..., None], H1.mT[:, :, None], out=scratch("M", (R, K, J, H))).flatten(2)
    h1 = _product(z, M, scratch("h1", (R, B, J * H))).relu_()
    return M, h1.unflatten(2, (J, H))


def _second_layer(h1: Tensor, W2: Tensor, bias: Tensor, out: Tensor) -> Tensor:
    """relu(h1 W2 + bias) in `out`, of h1's shape (r, B, features, H)."""
    _product(h1.flatten(1, 2), W2, out.flatten(1, 2), bias).relu_()
    return out


def _product(a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None = None) -> Tensor:
    """a @ b (+ bias) for each replicate, in `out`.

    On a CPU a product's last bits can depend on where its operands begin and on how many are done
    at once; so they begin at cache lines (`_empty`) and are done one by one.
    """
    if a.device.type != "cpu":
        return torch.bmm(a, b, out=out) if bias is None else torch.baddbmm(bias, a, b, out=out)
    for r in range(a.shape[0]):
        if bias is None:
            torch.mm(a[r], b[r], out=out[r])
        else:
            torch.addmm(bias[r], a[r], b[r], out=out[r])
    return out


def _empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """An empty (R, ...) tensor in which every replicate begins at a multiple of 64 bytes."""
    strides = _strides(shape, like.element_size())
    return torch.empty_strided(shape, strides, dtype=like.dtype, device=like.device)


@cache
def _strides(shape: tuple[int, ...], element_size: int) -> tuple[int, ...]:
    line = 64 // element_size
    inner = [math.prod(shape[i:]) for i in range(2, len(shape) + 1)]
    return (-(-math.prod(shape[1:]) // line) * line, *inner)


def _aligned(a: Tensor, dtype: torch.dtype) -> Tensor:
    return _empty(a.shape, a.new_empty(0, dtype=dtype)).copy_(a)


def _tile_size(z: Tensor) -> int:
    return CPU_TILE if z.device.type == "cpu" else DEVICE_TILE


def _tiles(z: Tensor, heads: Tensor) -> list[Tile]:
    """Slices of replicates and features. Whether a replicate is cut does not depend on R."""
    R, G, H = heads.shape
    row = z.shape[1] * H
    fits = max(1, _tile_size(z) // max(1, row))
    if fits >= G:
        return [(slice(r, r + fits // G), slice(0, G)) for r in range(0, R, fits // G)]
    width = -(-G // -(-G // fits))
    return [
        (slice(r, r + 1), slice(j, min(j + width, G))) for r in range(R) for j in range(0, G, width)
    ]


def _share(
    work: Callable[[Sequence[Any]], T], tiles: Sequence[Any], device: torch.device
) -> list[T]:
    """Run `work` on equal shares of the tiles, each on one of torch's number of threads.

    One core per tile keeps its arrays in that core's cache and meets once per call; threads inside
    each product would meet some fifteen times per tile.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    shares = min(threads, len(tiles))
    if shares < 2:
        return [work(tiles)]
    cuts = [len(tiles) * i // shares for i in range(shares + 1)]
    pool = _workers(threads)
    torch.set_num_threads(1)  # MKL's number is the process's, whatever a worker has set
    try:
        return list(pool.map(work, [tiles[a:b] for a, b in pairwise(cuts)]))
    finally:
        torch.set_num_threads(threads)


def _begin_worker() -> None:
    """Settings of a worker's own thread, as training has them in its thread."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


@cache
def _workers(threads: int) -> ThreadPoolExecutor:
    """Workers whose own operations run on one thread each."""
    pool = ThreadPoolExecutor(threads, initializer=_begin_worker)
    all_started = Barrier(threads)
    list(pool.map(lambda _: all_started.wait(), range(threads)))
    return pool


os.register_at_fork(after_in_child=_workers.cache_clear)
