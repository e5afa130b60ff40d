"""The paper's algorithm as its text and released code do it: the baseline of every ratio.

One decoder pass per feature, one `Linear(H, 1)` head per feature, PyTorch's Adam over all
parameters, an E-step after every gradient step. Gaussian features or counts.
"""

import torch
from torch import Tensor, nn


class LoopSparseVAE(nn.Module):
    """A sparse VAE of G features, K factors and hidden width H, with a loop over features."""

    def __init__(self, G: int, K: int, H: int, likelihood: str, lambda0: float = 10.0) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(G, H), nn.ReLU(), nn.Linear(H, H), nn.ReLU())
        self.mean, self.logvar = nn.Linear(H, K), nn.Linear(H, K)
        self.trunk = nn.Sequential(
            nn.Linear(K, H, bias=False), nn.ReLU(), nn.Linear(H, H), nn.ReLU()
        )
        self.heads = nn.ModuleList(nn.Linear(H, 1) for _ in range(G))
        self.W = nn.Parameter(torch.randn(G, K))
        self.log_sigma = nn.Parameter(torch.zeros(G))
        self.likelihood, self.lambda0, self.lambda1 = likelihood, lambda0, 1.0
        self.p_star, self.eta = torch.full((G, K), 0.5), torch.rand(K)
        self.optimiser = torch.optim.Adam(self.parameters(), lr=0.01)

    def decode(self, z: Tensor) -> Tensor:
        """One pass per feature: z (B, K) to (B, G)."""
        columns = [head(self.trunk(z * w)) for head, w in zip(self.heads, self.W, strict=True)]
        return torch.cat(columns, dim=1)

    def loss(self, x: Tensor) -> Tensor:
        """Equations 7 and 8 with p* in place of the indicators, per row."""
        h = self.encoder(x)
        mean, logvar = self.mean(h), self.logvar(h)
        u = self.decode(mean + torch.exp(0.5 * logvar) * torch.randn_like(mean))
        if self.likelihood == "gaussian":
            squared = ((x - u) * torch.exp(-self.log_sigma)).square()
            fit = (0.5 * squared + self.log_sigma).sum(-1).mean()
        else:
            fit = -(x * torch.log_softmax(u, -1)).sum(-1).mean()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(-1).mean()
        rate = self.p_star * self.lambda1 + (1 - self.p_star) * self.lambda0
        return fit + kl + (rate * self.W.abs()).sum() / len(x)

    @torch.no_grad()
    def e_step(self) -> None:
        """Equations 55 and 56."""
        gap = (self.lambda0 - self.lambda1) * self.W.abs()
        self.p_star = torch.sigmoid(torch.log(self.eta / (1 - self.eta)) + gap)
        self.eta = (self.p_star.sum(0) / (2 * len(self.W) - 1)).clamp(1e-10, 1 - 1e-6)

    def step(self, x: Tensor) -> None:
        """A full training step on x (B, G)."""
        self.optimiser.zero_grad()
        self.loss(x).backward()
        self.optimiser.step()
        self.e_step()
