"""The base of all deep methods, and the plain VAE.

A method is a subclass of `DeepGenerative` that says how codes become features (`init_decoder`,
`decode`) and, where it needs to, what it believes of its weights (`prior`), what happens after a
gradient step (`after_step`), and another posterior (`encoder_heads`, `draw_noise`, `sample`, `kl`,
`code`). The base does the rest: training of many replicates at once, evaluation in bounded memory,
saving. Within these hooks `s` is the model's state: its attributes are the named tensors with a
leading replicate dimension R.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from anchorbench.data.json_text import json_text
from anchorbench.models import nets, priors, training
from anchorbench.models.checkpoint import Checkpoints
from anchorbench.models.convergence import converged, lower_bound
from anchorbench.models.likelihoods.base import Likelihood, make
from anchorbench.models.state import State
from anchorbench.models.training import Batch, Diverged, Stack, Trained, resolve_device

STACK_FLOATS = 2**22
"""On a CPU, replicates share a stack while a layer's activations stay below this many floats;
models beyond it gain nothing from company."""
STACK_MEMORY, STACK_LAYERS = 0.6, 12
"""On a GPU a stack takes this share of the free memory, counting so many of its widest layers."""
EVALUATION_FLOATS = 2**23
"""Rows evaluated at once hold at most this many floats a layer (32 MB)."""
ELBO_DRAWS = 16
SLOPE_ROWS, SLOPE_STEP = 64, 0.05


@dataclass(eq=False, repr=False)
class DeepGenerative(BaseEstimator):
    """An encoder network, a decoder, and a bound on the likelihood; a scikit-learn estimator.

    The noise levels start at, and their prior depends on, the standard deviations of the training
    rows; the authors' script used all rows, test rows included.

    Parameters
    ----------
    likelihood : str
        Name of a file in models/likelihoods/.
    n_latent : int
        Number of factors K.
    seed : int
        Of the initial values, the minibatches and the noise.
    n_hidden : int
        Width of the hidden layers.
    epochs : int
        Passes over the training rows.
    batch_size : int
        Rows of a minibatch; the last one of an epoch may be smaller.
    learning_rate : float
        Adam's.
    kl_weight : float or "1/K"
        The weight beta of the KL divergence.
    kl_reduction : {"sum", "mean"}
        The KL's sum over latents, or its mean, which multiplies the weight by 1/K (the released
        code).
    kl_warmup : float
        Share of training over which the KL's weight rises linearly from 0; 0 for none.
    likelihood_reduction : {"sum", "mean"}
        Of Gaussian errors over features; "mean" is the released code's.
    prior_scale : {"data", "batch"}
        What log priors of weights are divided by to stand beside a mean over rows: the number of
        rows, or the minibatch's (the released code).
    decoder_weight_prior : bool
        N(0, 1) on the decoder's weights.
    reconstruct_from : {"mean", "sample"}
        Reconstructions at the posterior mean or at one draw.
    input_scaling : {"row_sum", "none"}
        Multinomial rows enter the encoder as shares or as they are.
    probability_epsilon : float
        Added to multinomial probabilities inside the log (the released code: 1e-6).
    size_factor : {"row_sum", "none"}
        Whether rates of Poisson and negative binomial rows are measured in the row's sum.
    feature_scaling : {"none", "standard"}
        Whether Gaussian features are modelled as they are or standardised by the training rows; all
        results are in the data's units.
    prior_covariance : {"identity", "correlation", "diagonal", "low_rank", "full"}
        Sigma_z of the factors: the identity, or learned: with a unit diagonal, a diagonal alone, as
        C C' + I, or in full, which leaves the codes' scale free.
    precision : {"float32", "tf32"}
        Of products while training; in tf32 a GPU rounds their operands to 10 bits.
    device : str
        "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1".

    Attributes
    ----------
    state_ : dict of str to Tensor
        Everything learned, by name.
    loadings_ : ndarray of shape (G, K)
        mean |d x_j / d z_k| over SLOPE_ROWS training rows, drawn once and for all.
    history_ : dict of str to ndarray
        Means over each epoch: objective, reconstruction and kl, the last two per row at weight 1.
    converged_ : bool or None
        See `convergence.converged`; None where the curve is too short to say.
    seconds_before_ : float
        Of training before an interruption.
    n_features_in_, n_parameters_, device_
    """

    likelihood: str = "gaussian"
    n_latent: int = 5
    seed: int = 0
    n_hidden: int = 50
    epochs: int = 200
    batch_size: int = 100
    learning_rate: float = 0.01
    kl_weight: float | str = 1.0
    kl_reduction: str = "sum"
    kl_warmup: float = 0.3
    likelihood_reduction: str = "sum"
    prior_scale: str = "data"
    decoder_weight_prior: bool = False
    reconstruct_from: str = "mean"
    input_scaling: str = "row_sum"
    probability_epsilon: float = 0.0
    size_factor: str = "row_sum"
    feature_scaling: str = "none"
    prior_covariance: str = "identity"
    precision: str = "float32"
    device: str = "auto"

    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "kl_reduction": ("sum", "mean"),
        "prior_scale": ("data", "batch"),
        "reconstruct_from": ("mean", "sample"),
        "feature_scaling": ("none", "standard"),
        "prior_covariance": ("identity", "correlation", "diagonal", "low_rank", "full"),
        "precision": ("float32", "tf32"),
    }
    """Parameters that are one of a few words."""

    scalars: ClassVar[tuple[str, ...]] = ("learning_rate", "kl_weight", "kl_warmup")
    """Numbers of the objective and the optimiser that may differ between the members of a stack.

    Hooks read them as numbers; in a stack whose members differ they are a `members.PerMember`.
    """

    # What a method says ---------------------------------------------------------------------------

    def init_decoder(
        self, generator: torch.Generator, n_features: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(trained parameters, other state) of the decoder for one replicate, not stacked."""
        raise NotImplementedError

    def decode(self, s: State, z: Tensor) -> Tensor:
        """Codes z (R, B, K) to the likelihood's u (R, B, G): means or logits."""
        raise NotImplementedError

    def decoder_weights(self, s: State) -> list[Tensor]:
        """The weights that `decoder_weight_prior` puts N(0, 1) on."""
        return [s.H1, s.H2, s.heads]

    def decoder_floats(self, n_features: int) -> int:
        """Floats that the widest layer of `decode` holds per row; bounds memory."""
        return n_features + self.n_hidden

    def encoder_heads(self) -> dict[str, int]:
        """The encoder's outputs and their widths."""
        return {"mean": self.n_latent, "logvar": self.n_latent}

    def draw_noise(self, generator: torch.Generator, rows: int) -> Tensor:
        """The noise that `sample` needs, (rows, D)."""
        return torch.randn(rows, self.n_latent, generator=generator)

    def sample(self, q: State, noise: Tensor, progress: Tensor) -> Tensor:  # noqa: ARG002
        """A draw z (R, B, K) from the posterior q (eq. 57); progress (R,): share of training."""
        return q.mean + torch.exp(0.5 * q.logvar) * noise

    def kl(self, s: State, q: State) -> Tensor:
        """KL(q(z | x) || p(z)) of every row, (R, B), summed over latents (eqs. 54 and 59)."""
        if self.prior_covariance == "identity":
            return priors.kl_standard(q.mean, q.logvar).sum(-1)
        return priors.kl_covariance(q.mean, q.logvar, self.covariance(s))

    def code(self, q: State) -> Tensor:
        """What `transform` returns, (R, B, K)."""
        return q.mean

    def prior(self, s: State, batch: Batch) -> Tensor | float:  # noqa: ARG002
        """-log prior of all weights, (R,); the loss divides it as `prior_scale` says."""
        penalty = self._likelihood.prior(s)
        if self.decoder_weight_prior:
            penalty = penalty + priors.standard_normal_penalty(*self.decoder_weights(s))
        return penalty

    def after_step(self, s: State, batch: Batch, step: Stack) -> None:
        """Changes the state in place after a gradient step: E-steps, proximal maps, rescaling."""

    def sgd_rates(self) -> dict[str, float]:
        """Parameters that take plain gradient steps in place of Adam's, with their rates."""
        return {}

    # What every method shares ---------------------------------------------------------------------

    def initialise(
        self, X: Tensor, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(trained parameters, other state) of one replicate with data X (N, G), not stacked."""
        parameters = nets.encoder_init(generator, X.shape[1], self.n_hidden, self.encoder_heads())
        decoder, others = self.init_decoder(generator, X.shape[1])
        noise, constants = self._likelihood.initialise(X)
        if self.prior_covariance == "low_rank":
            decoder["prior_root"] = torch.randn(self.n_latent, 2, generator=generator)
        elif self.prior_covariance != "identity":
            decoder["prior_root"] = torch.zeros(self.n_latent, self.n_latent)
        return parameters | decoder | noise, others | constants

    def encode(self, s: State, x: Tensor) -> State:
        """The posterior of x (R, B, G): one attribute (R, B, width) per encoder head."""
        h = nets.encoder_hidden(s, self._likelihood.encoder_input(s, x))
        return State(
            **{
                name: nets.linear(h, getattr(s, f"{name}_weight"), getattr(s, f"{name}_bias"))
                for name in self.encoder_heads()
            }
        )

    def covariance(self, s: State) -> Tensor:
        """The learned prior covariance of the factors, (R, K, K)."""
        if self.prior_covariance == "low_rank":
            return priors.low_rank_covariance(s.prior_root)
        if self.prior_covariance == "diagonal":
            return priors.diagonal_covariance(s.prior_root)
        if self.prior_covariance == "correlation":
            return priors.correlation(s.prior_root)
        return priors.cholesky_covariance(s.prior_root)

    def loss(self, s: State, batch: Batch) -> Tensor:
        """Minus the weighted evidence lower bound and log prior (eqs. 7-8), per row: (R,)."""
        q = self.encode(s, batch.x)
        z = self.sample(q, batch.noise, batch.progress)
        u = self.decode(s, z)
        fit, kl = batch.mean(self._likelihood.loss(s, batch.x, u)), batch.mean(self.kl(s, q))
        batch.parts.update(reconstruction=self._minus_log_prob(s, batch, u, fit), kl=kl)
        bound = fit + self.kl_factor(batch) * kl
        return bound + self.prior(s, batch) / self.prior_rows(batch)

    @torch.no_grad()
    def _minus_log_prob(self, s: State, batch: Batch, u: Tensor, fit: Tensor) -> Tensor:
        """-log p(x | z) per row, (R,): what was fitted, or where that was reduced, itself."""
        if self.likelihood_reduction == "sum":
            return fit
        return -batch.mean(self._likelihood.log_prob(s, batch.x, u))

    def full_kl_weight(self) -> float:
        """The weight of the KL divergence after its warm-up, before `kl_reduction`."""
        return 1 / self.n_latent if isinstance(self.kl_weight, str) else self.kl_weight

    def kl_factor(self, batch: Batch) -> Tensor | float:
        """The weight of the KL divergence now, warm-up included."""
        weight = self.full_kl_weight()
        if self.kl_reduction == "mean":
            weight = weight / self.n_latent
        if self.kl_warmup:
            return weight * (batch.progress / self.kl_warmup).clamp(max=1)
        return weight

    def prior_rows(self, batch: Batch) -> Tensor | float:
        """What a log prior is divided by to stand beside a mean over rows."""
        return batch.rows if self.prior_scale == "data" else float(batch.size)

    @property
    def _likelihood(self) -> Likelihood:
        return make(self.likelihood, vars(self))

    # Fitting --------------------------------------------------------------------------------------

    def fit(self, X: np.ndarray, y: None = None) -> Self:  # noqa: ARG002
        """Trains on X (N, G); raises `Diverged` on values that are not finite."""
        fitted = self.fit_many([X], [self.seed])[0]
        if isinstance(fitted, Diverged):
            raise fitted
        self.__dict__.update(fitted.__dict__)
        return self

    def fit_many(self, Xs: Sequence[np.ndarray], seeds: Sequence[int]) -> list[Self | Diverged]:
        """Trains one model per training set Xs[r] (N_r, G) and seed, all together.

        A model that diverges is a `Diverged` in the list; the others are fitted estimators, each
        the same as `fit` alone would give.
        """
        return self.fit_settings(Xs, seeds, [{}] * len(Xs))

    def fit_settings(
        self,
        Xs: Sequence[np.ndarray],
        seeds: Sequence[int],
        settings: Sequence[Mapping[str, Any]],
    ) -> list[Self | Diverged]:
        """Trains one model per training set, seed and setting.

        Parameters
        ----------
        Xs, seeds : training sets (N_r, G), which may be one array many times, and a seed for each.
        settings : for each the parameters in which it differs from this estimator.

        Returns
        -------
        As `fit_many`: those whose settings differ in `scalars` alone are trained together.

        Raises
        ------
        ValueError
            For a parameter that the estimator does not have, or a value that it does not take.
        """
        own = self.get_params()
        models = []
        for setting, seed in zip(settings, seeds, strict=True):
            if unknown := set(setting) - set(own):
                raise ValueError(f"{type(self).__name__} has no parameter {', '.join(unknown)}")
            models.append(type(self)(**(own | dict(setting) | {"seed": seed})))
        return fit_together(models, Xs)

    def check(self) -> None:
        """Raises ValueError for a parameter that is not one of its words, or no sensible number."""
        for name in ("n_latent", "n_hidden", "epochs", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name} {value!r}: give a whole number, 1 or more")
        for name in self.scalars:
            value = getattr(self, name)
            if name == "kl_weight" and value == "1/K":
                continue
            if isinstance(value, str | bool) or not 0 <= value < float("inf"):
                raise ValueError(f"{name} {value!r}: give a finite number, 0 or more")
        for name, allowed in self.choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r}: use one of {', '.join(allowed)}")

    def settled_after(self) -> float:
        """The share of training after which the objective stays as it is."""
        return self.kl_warmup

    def _company(self, n_features: int) -> str:
        """Models of which this is equal may share a stack: all but their scalars are the same.

        A scalar of zero switches a term off, so it counts as a word does.
        """
        params = self.get_params()
        numbers = {name for name in self.scalars if not isinstance(params[name], str)}
        kept = {k: v for k, v in params.items() if k not in numbers | {"seed"}}
        zero = sorted(name for name in numbers if params[name] == 0)
        return repr((type(self).__qualname__, n_features, sorted(kept.items()), zero))

    def _stack_size(self, X: Tensor, device: torch.device) -> int:
        """How many models like this one share a stack."""
        rows, width = X.shape
        floats = nets.round_up(self.batch_size) * self.decoder_floats(width)
        if device.type != "cuda":
            return max(1, STACK_FLOATS // floats)
        member = STACK_LAYERS * floats + rows * (width + 2 * self.n_latent + 4)
        return max(1, int(STACK_MEMORY * torch.cuda.mem_get_info(device)[0] / (4 * member)))

    def _fitted(
        self, trained: Trained, X: Tensor, units: Mapping[str, np.ndarray], device: torch.device
    ) -> Self:
        """This estimator with what training on rows X, as they are modelled, gave it."""
        self.state_, self.n_features_in_, self.device_ = trained.state, X.shape[1], str(device)
        self.seconds_before_ = trained.seconds_before
        self.history_ = {name: np.array(curve) for name, curve in trained.history.items()}
        self.converged_ = None
        if "kl" in self.history_:
            self.converged_ = converged(lower_bound(self.history_), self.settled_after())
        parameters, _ = self.initialise(X[:2], torch.Generator())
        self.n_parameters_ = sum(tensor.numel() for tensor in parameters.values())
        codes = torch.from_numpy(self._map(lambda s, x: self.code(self.encode(s, x)), X.numpy()))
        some = np.random.default_rng(0).permutation(len(codes))[:SLOPE_ROWS]  # files may be sorted
        slope = self._slope(codes[some].float())
        unit = self._likelihood.effect_unit(X)
        effect = slope * codes.std(0, unbiased=False) / unit.clamp_min(1e-12)[:, None]
        self.state_ |= {name: torch.from_numpy(values) for name, values in units.items()}
        slope = torch.from_numpy(self.in_units(slope))
        self.state_ |= {"slope": slope.float(), "effect": effect.float()}
        return self

    def seen(self, X: np.ndarray) -> np.ndarray:
        """Rows X (N, G) as they are modelled."""
        state = self._fitted_state()
        if "feature_sd" not in state:
            return X
        mean, sd = state["feature_mean"].numpy(), state["feature_sd"].numpy()
        standard: np.ndarray = (np.asarray(X, dtype=np.float64) - mean) / sd
        return standard

    @torch.no_grad()
    def _slope(self, codes: Tensor) -> Tensor:
        """mean |d x_j / d z_k| (G, K) by central differences; for counts, x_j is log p_j."""
        s = self._stacked()
        z = codes.to(self.device_)[None]
        columns = []
        for k in range(self.n_latent):
            step = torch.zeros_like(z)
            step[..., k] = SLOPE_STEP
            up, down = (
                self._likelihood.effect_scale(s, self.decode(s, point))
                for point in (z + step, z - step)
            )
            columns.append((up - down).abs().mean((0, 1)) / (2 * SLOPE_STEP))
        return torch.stack(columns, 1).double().cpu()

    # Using a fitted model -------------------------------------------------------------------------

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Codes (N, K): posterior means."""
        return self._map(lambda s, x: self.code(self.encode(s, x)), self.seen(X))

    def posterior(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of q(z | x), both (N, K)."""

        def both(s: State, x: Tensor) -> Tensor:
            q = self.encode(s, x)
            return torch.cat([q.mean, torch.exp(0.5 * q.logvar)], -1)

        mean, sd = np.split(self._map(both, self.seen(X)), 2, axis=1)
        return mean, sd

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """Expected features (N, G) of codes (N, K); for counts, probabilities."""
        return self._map(lambda s, z: self._likelihood.mean(s, self.decode(s, z)), Z)

    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        """Expected features (N, G) at the posterior mean, or at one draw (`reconstruct_from`)."""
        if self.reconstruct_from == "mean":
            return self.inverse_transform(self.transform(X))
        return self.inverse_transform(self._draw(X, torch.Generator().manual_seed(self.seed)))

    def log_prob(self, X: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """log p(x | z) of every row, (N,); of the multinomial without its coefficient."""
        return self._map(
            lambda s, x, z: self._likelihood.log_prob(s, x, self.decode(s, z))[..., None],
            self.seen(X),
            Z,
        )[:, 0]

    def elbo(self, X: np.ndarray) -> np.ndarray:
        """Evidence lower bound of every row at KL weight 1, (N,); the mean of 16 draws."""
        generator = torch.Generator().manual_seed(self.seed)
        draws = [self.log_prob(X, self._draw(X, generator)) for _ in range(ELBO_DRAWS)]
        kl = self._map(lambda s, x: self.kl(s, self.encode(s, x))[..., None], self.seen(X))[:, 0]
        return np.mean(draws, axis=0) - kl

    def log_prior(self, Z: np.ndarray) -> np.ndarray:
        """log p(z) of every row of codes (N, K): (N,)."""
        root = np.linalg.cholesky(self.prior_covariance_)
        white = np.linalg.solve(root, np.asarray(Z, dtype=float).T)
        log_det = 2 * np.log(np.diag(root)).sum()
        constant = self.n_latent * np.log(2 * np.pi)
        return -0.5 * ((white**2).sum(0) + log_det + constant)

    @property
    def prior_covariance_(self) -> np.ndarray:
        """Covariance of the factors under the prior, (K, K)."""
        if self.prior_covariance == "identity":
            return np.eye(self.n_latent)
        learned: np.ndarray = self.covariance(self._stacked())[0].double().cpu().numpy()
        return learned

    @property
    def prior_mean_(self) -> np.ndarray:
        """Means of the factors under the prior, (K,)."""
        return np.zeros(self.n_latent)

    def in_units(self, loadings: Tensor) -> np.ndarray:
        """Loadings (G, K) of features as they are modelled, in the data's units."""
        unit = self._fitted_state().get("feature_sd")
        return (loadings if unit is None else loadings * unit[:, None]).double().numpy()

    @property
    def loadings_(self) -> np.ndarray:
        """mean |d x_j / d z_k| (G, K) over training rows; for counts, x_j is log p_j."""
        return self._fitted_state()["slope"].double().numpy()

    def _draw(self, X: np.ndarray, generator: torch.Generator) -> np.ndarray:
        noise = self.draw_noise(generator, len(X)).numpy()

        def sample(s: State, x: Tensor, e: Tensor) -> Tensor:
            return self.sample(self.encode(s, x), e, torch.ones(1, device=x.device))

        return self._map(sample, self.seen(X), noise)

    @torch.no_grad()
    def _map(self, function: Callable[..., Tensor], *arrays: np.ndarray) -> np.ndarray:
        """`function(s, *rows)` over chunks of rows; everything in it is (1, rows, ...)."""
        s = self._stacked()
        rows = max(1, EVALUATION_FLOATS // self.decoder_floats(self.n_features_in_))
        device = torch.device(self.device_)
        parts = []
        for start in range(0, max(len(arrays[0]), 1), rows):
            chunk = (np.asarray(a[start : start + rows], dtype=np.float32) for a in arrays)
            out = function(s, *(torch.from_numpy(a).to(device)[None] for a in chunk))
            parts.append(out[0].double().cpu().numpy())
        return np.concatenate(parts)

    def _fitted_state(self) -> dict[str, Tensor]:
        if not hasattr(self, "state_"):
            raise ValueError(f"{type(self).__name__} is not fitted: call fit or load first")
        return self.state_

    def _stacked(self) -> State:
        state = self._fitted_state()
        return State(**{k: v[None].to(self.device_) for k, v in state.items()})

    # Keeping --------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Writes the state, state.safetensors or state.pt, and model.json into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {k: v.contiguous() for k, v in self._fitted_state().items()}
        try:
            from safetensors.torch import save_file
        except ImportError:  # a machine that only trains does without
            torch.save(state, folder / "state.pt")
        else:
            save_file(state, folder / "state.safetensors")
        facts = {
            "class": type(self).__name__,
            "params": self.get_params(),
            "n_features": self.n_features_in_,
            "n_parameters": self.n_parameters_,
        }
        (folder / "model.json").write_text(json_text(facts), encoding="utf-8")

    def load(self, folder: str | Path) -> Self:
        """Reads what `save` wrote; this estimator takes on its parameters, but keeps its device."""
        facts = json.loads((Path(folder) / "model.json").read_text())
        if facts["class"] != type(self).__name__:
            raise ValueError(f"{folder}: holds a {facts['class']}, not a {type(self).__name__}")
        self.set_params(**(facts["params"] | {"device": self.device}))
        self.n_features_in_, self.n_parameters_ = facts["n_features"], facts["n_parameters"]
        self.state_ = _weights(Path(folder))
        self.device_ = str(resolve_device(self.device))
        return self


@dataclass(eq=False, repr=False)
class VAE(DeepGenerative):
    """The variational autoencoder (Kingma and Welling 2014) with the paper's networks.

    `kl_weight` other than 1 makes it the beta-VAE (Higgins et al. 2017). The decoder is dense:
    every feature may depend on every factor.
    """

    def init_decoder(
        self, generator: torch.Generator, n_features: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """H1, H2, b2, heads, head_bias; no other state."""
        return nets.decoder_init(generator, self.n_latent, self.n_hidden, n_features), {}

    def decode(self, s: State, z: Tensor) -> Tensor:
        """heads relu(H2 relu(H1 z) + b2) + head_bias."""
        return nets.dense_decoder(s, z)


def _weights(folder: Path) -> dict[str, Tensor]:
    """The named tensors that `save` wrote."""
    if (folder / "state.pt").is_file():
        found: dict[str, Tensor] = torch.load(folder / "state.pt", weights_only=True)
        return found
    from safetensors.torch import load_file

    return load_file(folder / "state.safetensors")


def fit_together(
    models: Sequence[DeepGenerative], Xs: Sequence[np.ndarray]
) -> list[DeepGenerative | Diverged]:
    """Trains every model on its own training set Xs[r] (N_r, G), with its own seed and settings.

    Models of one class that differ in seed and `scalars` alone share stacks. Returns the models,
    fitted, each the same as its own `fit` would make it, and a `Diverged` for one that diverged.
    """
    for model in models:
        model.check()
    known: dict[tuple[int, str, str], Rows] = {}
    rows, stacks = [], dict[str, list[int]]()
    for i, (model, X) in enumerate(zip(models, Xs, strict=True)):
        key = (id(X), model.likelihood, model.feature_scaling)
        if key not in known:
            known[key] = _rows(model, np.asarray(X))
        rows.append(known[key])
        stacks.setdefault(model._company(rows[i][0].shape[1]), []).append(i)
    outcomes: dict[int, DeepGenerative | Diverged] = {}
    for indices in stacks.values():
        group = [models[i] for i in indices]
        for i, outcome in zip(indices, _fit_stack(group, [rows[i] for i in indices]), strict=True):
            outcomes[i] = outcome
    return [outcomes[i] for i in range(len(models))]


Rows = tuple[Tensor, dict[str, np.ndarray]]
"""A training set (N, G) as it is modelled, and the units that were taken out of it."""


def _rows(model: DeepGenerative, X: np.ndarray) -> Rows:
    """A training set (N, G) in the data's units as a model takes it."""
    units = model._likelihood.units(X)
    if units:
        X = (X - units["feature_mean"]) / units["feature_sd"]
    return torch.tensor(X, dtype=torch.float32), units


def _fit_stack(
    models: Sequence[DeepGenerative], rows: Sequence[Rows]
) -> list[DeepGenerative | Diverged]:
    """`fit_together` of models that differ in scalars and seeds alone."""
    one, device = models[0], resolve_device(models[0].device)
    Xs = [X for X, _ in rows]
    differing = [name for name in one.scalars if len({getattr(m, name) for m in models}) > 1]
    scalars = [{name: getattr(m, name) for name in differing} for m in models] if differing else []
    outcomes = training.train(
        one,
        Xs,
        [model.seed for model in models],
        device,
        one._stack_size(max(Xs, key=len), device),
        scalars=scalars,
        checkpoints=Checkpoints.from_environment(),
    )
    return [
        outcome if isinstance(outcome, Diverged) else model._fitted(outcome, X, units, device)
        for model, outcome, (X, units) in zip(models, outcomes, rows, strict=True)
    ]
