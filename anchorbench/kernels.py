"""The masked decoder of the sparse VAE for every feature at once.

The model (Moran et al. 2022, equation 1) gives feature j its own view of the factors, so the paper
runs the decoder once per feature. All functions here compute that same value and share one
signature; R stacks independent replicates:

    z (R, B, K), mask (R, G, K), H1 (R, H, K), H2 (R, H, H), b2 (R, H), heads (R, G, H),
    head_bias (R, G)  ->  (R, B, G)

    out[r, b, j] = heads[r, j] . relu(H2[r] relu(H1[r] (mask[r, j] * z[r, b])) + b2[r])
                   + head_bias[r, j]

The first layer has no bias.
"""

import torch
from torch import Tensor


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
    """The loop as batched products; holds the (R, B*G, H) hidden layers in memory."""
    R, B, K = z.shape
    G, H = mask.shape[1], H1.shape[1]
    masked = z[:, :, None, :] * mask[:, None, :, :]
    h1 = torch.relu(torch.bmm(masked.reshape(R, B * G, K), H1.transpose(1, 2)))
    h2 = torch.relu(torch.baddbmm(b2[:, None, :], h1, H2.transpose(1, 2)))
    return (h2.reshape(R, B, G, H) * heads[:, None]).sum(-1) + head_bias[:, None, :]


masked_decoder = batched_decoder
