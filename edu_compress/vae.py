r"""The variational autoencoder: a transform that is learned together with the price of its latents.

::

      patch            recognition model             generative model        mean of p(x|z)
    x (B, n) -----> mu, log sigma² (B, L) --> z (B, L) -----------------> x_hat (B, n)
    grey levels          q(z|x)             ^                            grey levels
                           |                |                                |
                           |     z = mu + sigma · eps,  eps ~ N(0, I)        |
                           v                                                 v
            rate R = KL(q(z|x) || p(z)),  p(z) = N(0, I)      distortion D = |x - x_hat|² / n
            how much the decoder must be told about z         what was lost

Two networks are trained at once, to make the evidence lower bound (ELBO) large:
log p(x) >= E_q[log p(x|z)] - KL(q(z|x) || p(z)). With a Gaussian p(x|z) = N(x; x_hat, s² I) its negative is, in nats,

    KL + |x - x_hat|² / (2 s²) + (n/2) ln(2 π s²),

which is n ln 2 times R + λ D plus a constant, with R in bits per pixel, D the mean squared error and
λ = 1 / (2 s² ln 2). **A variational autoencoder is a rate-distortion machine**; the β of a β-VAE, which multiplies the
KL term, is a second name of the same knob: :func:`lambda_of`.

Here x is an 8 × 8 patch of the luma of a photograph, so n = 64. Both networks have one hidden layer of tanh units, as
in the paper. Beside them runs a linear path, which is ours: :meth:`VAE.initialise` sets it to the best *linear* VAE,
which is known in closed form, and the networks learn the rest. (From nothing, the same training ends far behind it.)

Invariants: a linear VAE reaches exactly the rate and distortion of reverse water-filling on the variances of the
principal components (:func:`gaussian_rate_distortion`), never less; the ELBO never exceeds the importance-weighted
bound on average, and that one never exceeds log p(x).

What is missing before this is a codec: z is a vector of real numbers, and has no finite code. KL is what an *ideal*
coder of noisy latents would spend (relative entropy coding; bits-back coding); it is not the size of a file.

References:
    Kingma, Welling, "Auto-Encoding Variational Bayes", ICLR 2014, arXiv:1312.6114: eqs. (3), (4), (10), app. B, C.
    Higgins et al., "beta-VAE", ICLR 2017. Alemi et al., "Fixing a Broken ELBO", ICML 2018, arXiv:1711.00464: R and D.
    Lucas et al., "Don't Blame the ELBO!", NeurIPS 2019, arXiv:1911.02469: the linear VAE is probabilistic PCA.
    Cover, Thomas, "Elements of Information Theory", 2nd ed. (2006), theorem 10.3.3: reverse water-filling.
    Cremer, Li, Duvenaud, ICML 2018, arXiv:1801.03558: amortisation gap.
    Burda, Grosse, Salakhutdinov, ICLR 2016, arXiv:1509.00519: importance-weighted bound.

Taught in lesson 04.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import trange

from . import images
from .errors import SettingError

# --- patches ----------------------------------------------------------------------------------


def luma(image: np.ndarray) -> np.ndarray:
    """Return the luma of a picture (uint8 [H, W, 3]) in grey levels, float64 [H, W]."""
    return images.rgb_to_ycbcr(image)[..., 0]


def to_patches(plane: np.ndarray, size: int = 8) -> Tensor:
    """Cut a plane [H, W] into the patches of its grid, row by row: float32 (N, size²). The border is padded."""
    blocks = images.to_blocks(images.pad(plane, size), size)  # [H/size, W/size, size, size]
    return torch.from_numpy(blocks.reshape(-1, size * size)).float()


def from_patches(patches: Tensor, height: int, width: int) -> np.ndarray:
    """Undo :func:`to_patches`: (N, size²) -> plane [height, width], float64, neither rounded nor clipped."""
    size = math.isqrt(patches.shape[1])
    rows, columns = -(-height // size), -(-width // size)
    blocks = patches.detach().double().numpy().reshape(rows, columns, size, size)
    return images.crop(images.from_blocks(blocks), height, width)


def random_patches(planes: Sequence[np.ndarray], count: int, size: int = 8, seed: int = 0) -> Tensor:
    """Draw ``count`` patches from each plane, anywhere in it: float32 (count · planes, size²)."""
    rng = np.random.default_rng(seed)
    drawn = []
    for plane in planes:
        windows = np.lib.stride_tricks.sliding_window_view(plane, (size, size))  # [H-7, W-7, 8, 8], not a copy
        rows, columns = (rng.integers(0, extent, count) for extent in windows.shape[:2])
        drawn.append(windows[rows, columns].reshape(count, -1))
    return torch.from_numpy(np.concatenate(drawn)).float()


# --- the parts of the ELBO --------------------------------------------------------------------


class Posterior(NamedTuple):
    """The approximate posterior q(z|x): one Gaussian for each latent of each patch, both (B, L)."""

    mean: Tensor
    log_variance: Tensor


def reparameterise(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Sample z = mu + sigma · eps (arXiv:1312.6114, eq. 4 and section 3); the gradient reaches mu and sigma.

    Args:
        mean, log_variance: of q(z|x), (B, L).
        noise: eps, standard normal, (B, L).
    """
    return mean + torch.exp(0.5 * log_variance) * noise


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mu, sigma²) || N(0, 1)) of each latent, in nats, (B, L) -> (B, L) (arXiv:1312.6114, appendix B)."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


def bits_per_pixel(nats: Tensor, pixels: int = 64) -> Tensor:
    """Turn nats per patch of ``pixels`` pixels into bits per pixel."""
    return nats / (pixels * math.log(2))


def lambda_of(variance: float, beta: float = 1.0) -> float:
    """Return λ of J = R + λ D for a decoder of noise variance s² (grey levels²) in a β-VAE.

    For pictures of one channel. A colour pixel has three samples, so there λ is three times that (the convention
    "gaussian" of :func:`edu_compress.rate_distortion.convert_lambda`, with the value s).
    """
    return 1 / (2 * math.log(2) * beta * variance)


def noise_variance(lam: float, beta: float = 1.0) -> float:
    """Return s², the noise variance of p(x|z) in grey levels², for a λ: the inverse of :func:`lambda_of`."""
    return 1 / (2 * math.log(2) * beta * lam)


def log_likelihood(x: Tensor, x_hat: Tensor, variance: float) -> Tensor:
    """log p(x|z) = log N(x; x_hat, s² I) in nats, (..., n) -> (...) (arXiv:1312.6114, appendix C.2)."""
    return -0.5 * ((x - x_hat) ** 2 / variance + math.log(2 * math.pi * variance)).sum(-1)


def gaussian_rate_distortion(variances: np.ndarray, lam: float) -> tuple[float, float]:
    """Shannon's bound for independent Gaussians, at the point where its slope is -1/λ: reverse water-filling.

    A component of more variance than the water level θ keeps the error θ and costs log2(variance / θ) / 2 bits; any
    other is not sent, and its error is its variance. The level is the noise variance of the decoder.

    Args:
        variances: of the n components (for correlated ones: the eigenvalues of the covariance matrix).
        lam: λ, in bits per sample for one unit of MSE.

    Returns:
        (bits per sample, mean squared error).
    """
    level = noise_variance(lam)
    rate = 0.5 * np.log2(np.maximum(variances / level, 1))
    return float(rate.mean()), float(np.minimum(variances, level).mean())


# --- the model --------------------------------------------------------------------------------


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """One hidden layer of tanh units (arXiv:1312.6114, appendix C). Starts ten times smaller than PyTorch's default,
    so that at first the linear path does the work."""
    network = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))
    with torch.no_grad():
        network[-1].weight.mul_(0.1)
        network[-1].bias.zero_()
    return network


class VAE(nn.Module):
    """A variational autoencoder of patches. A fresh one is random: fit it with :meth:`initialise` and :func:`train`.

    Args:
        pixels: n, pixels of a patch.
        latents: L, latents of a patch.
        hidden: tanh units in each of the two networks; 0 for the linear VAE.
    """

    def __init__(self, pixels: int = 64, latents: int = 32, hidden: int = 256):
        super().__init__()
        self.pixels, self.latents = pixels, latents
        # both networks work in these coordinates: u = basis' (x - centre) / deviation
        self.register_buffer("centre", torch.full((pixels,), 128.0))
        self.register_buffer("basis", torch.eye(pixels))
        self.register_buffer("deviation", torch.full((pixels,), 64.0))
        self.linear_mean = nn.Linear(pixels, latents)
        self.linear_decoder = nn.Linear(latents, pixels)
        self.log_variance = nn.Parameter(torch.zeros(latents))
        self.recognition = _mlp(pixels, hidden, 2 * latents) if hidden else None
        self.generation = _mlp(latents, hidden, pixels) if hidden else None

    @torch.no_grad()
    def initialise(self, patches: Tensor, lam: float) -> None:
        """Set the coordinates to the principal components of ``patches``, and the linear path to the best linear VAE.

        A component of variance l becomes one latent if l is above the water level θ = s²: with g = sqrt(1 - θ/l), the
        mean of the latent is g u, its variance θ/l, and u is decoded as g z (Lucas et al. 2019; lesson 04 checks it).
        """
        variances, vectors = torch.linalg.eigh(torch.cov(patches.T.double(), correction=0))  # ascending
        variances, vectors = variances.flip(0).clamp(min=1e-6), vectors.flip(1)
        self.centre.copy_(patches.mean(0))
        self.basis.copy_(vectors)
        self.deviation.copy_(variances.sqrt())
        noise_share = noise_variance(lam) / variances[: self.latents]  # θ/l
        gain = (1 - noise_share).clamp(min=1e-4).sqrt()  # not 0: two zeros in a product would never learn
        for layer in (self.linear_mean, self.linear_decoder):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.linear_mean.weight.mul_(gain[:, None])
        self.linear_decoder.weight.mul_(gain)
        self.log_variance.copy_(noise_share.clamp(max=1).log())

    def encode(self, x: Tensor) -> Posterior:
        """The recognition model: patches (B, n) in grey levels -> q(z|x), two times (B, L)."""
        u = (x - self.centre) @ self.basis / self.deviation  # (B, n)
        mean, log_variance = self.linear_mean(u), self.log_variance.expand(len(u), -1)
        if self.recognition is not None:
            mean_part, log_variance_part = self.recognition(u).chunk(2, dim=-1)
            mean, log_variance = mean + mean_part, log_variance + log_variance_part
        return Posterior(mean, log_variance)

    def decode(self, z: Tensor) -> Tensor:
        """The generative model: latents (..., L) -> mean of p(x|z), (..., n) in grey levels."""
        u = self.linear_decoder(z)
        if self.generation is not None:
            u = u + self.generation(z)
        return (u * self.deviation) @ self.basis.T + self.centre

    def forward(self, x: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """Encode, sample, decode.

        Args:
            x: patches (B, n) in grey levels.
            noise: eps, (B, L); drawn if not given.

        Returns:
            ``x_hat`` (B, n), ``z`` (B, L), ``kl`` (B, L) in nats.
        """
        posterior = self.encode(x)
        z = reparameterise(*posterior, torch.randn_like(posterior.mean) if noise is None else noise)
        return {"x_hat": self.decode(z), "z": z, "kl": kl_divergence(*posterior)}


def rate_and_distortion(x: Tensor, output: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """R in bits per pixel and D in grey levels² of each patch, (B,) and (B,), from the output of a :class:`VAE`."""
    return bits_per_pixel(output["kl"].sum(-1), x.shape[1]), ((x - output["x_hat"]) ** 2).mean(-1)


def elbo(x: Tensor, output: dict[str, Tensor], variance: float) -> Tensor:
    """The bound on log p(x), with one sample of z, in nats per patch, (B,) (arXiv:1312.6114, eq. 10).

    ``bits_per_pixel(-elbo)`` is R + λ D + log2(2 π s²) / 2, with λ = lambda_of(variance).
    """
    return log_likelihood(x, output["x_hat"], variance) - output["kl"].sum(-1)


# --- training and measuring -------------------------------------------------------------------


def train(
    model: VAE, patches: Tensor, lam: float, steps: int = 2000, batch: int = 256, rate: float = 2e-3, seed: int = 0,
    progress: bool = False,
) -> list[float]:  # fmt: skip
    """Minimise J = R + λ D with Adam; the rate of learning rises over the first tenth and falls in half a cosine.

    Returns:
        J of the batch of each step, in bits per pixel.

    Raises:
        SettingError: λ is not positive, or the patches have another size than the model's.
    """
    if not lam > 0:
        raise SettingError(f"λ is a positive number, not {lam}: at 0 the best autoencoder sends nothing.")
    if patches.ndim != 2 or patches.shape[1] != model.pixels:
        raise SettingError(f"The model wants patches of shape (N, {model.pixels}), not {tuple(patches.shape)}.")
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    losses = []
    for _ in (bar := trange(steps, disable=not progress, desc=f"λ = {lam:g}", mininterval=0.5)):
        x = patches[torch.randint(len(patches), (batch,), generator=generator)]
        R, D = rate_and_distortion(x, model(x, torch.randn(batch, model.latents, generator=generator)))
        loss = (R + lam * D).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if len(losses) % 100 == 0:
            bar.set_postfix_str(f"J = {sum(losses[-100:]) / 100:.3f} bits per pixel", refresh=False)
    return losses


@torch.no_grad()
def measure(model: VAE, x: Tensor, seed: int = 0) -> tuple[float, float]:
    """Mean rate (bits per pixel) and distortion (grey levels²) over patches ``x``, one sample of z for each."""
    noise = torch.randn(len(x), model.latents, generator=torch.Generator().manual_seed(seed))
    R, D = rate_and_distortion(x, model(x, noise))
    return R.mean().item(), D.mean().item()


def refine(
    model: VAE, x: Tensor, lam: float, steps: int = 200, rate: float = 0.02, samples: int = 8, seed: int = 0
) -> Posterior:
    """Optimise mu and sigma of each patch by itself, starting from what the encoder says; the model stays as it is.

    What this gains is the amortisation gap (arXiv:1801.03558): the price of one network that answers for all patches.
    """
    posterior = Posterior(*(part.detach().clone().requires_grad_() for part in model.encode(x)))
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(posterior, lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, total_iters=steps)  # the noise averages out
    for _ in range(steps):
        noise = torch.randn(samples, *posterior.mean.shape, generator=generator)
        x_hat = model.decode(reparameterise(*posterior, noise))  # (samples, B, n)
        R = bits_per_pixel(kl_divergence(*posterior).sum(-1), model.pixels)
        J = R.sum() + lam * ((x - x_hat) ** 2).mean((0, 2)).sum()
        gradients = torch.autograd.grad(J, posterior)
        for part, gradient in zip(posterior, gradients, strict=True):
            part.grad = gradient  # and not backward(), which would also leave gradients in the model
        optimiser.step()
        schedule.step()
    return Posterior(*(part.detach() for part in posterior))


@torch.no_grad()
def importance_weighted_bound(model: VAE, x: Tensor, variance: float, samples: int = 64, seed: int = 0) -> Tensor:
    """A tighter bound on log p(x), in nats per patch, (B,): log of the mean of p(x, z) / q(z|x) over several z.

    With one sample it is the ELBO on average; with more it rises towards log p(x) (arXiv:1509.00519, theorem 1).
    """
    posterior = model.encode(x)
    noise = torch.randn(samples, *posterior.mean.shape, generator=torch.Generator().manual_seed(seed))
    z = reparameterise(*posterior, noise)  # (samples, B, L)
    log_prior = -0.5 * (z**2).sum(-1)  # the (2 π)^(-L/2) of p and of q cancel
    log_q = -0.5 * (noise**2 + posterior.log_variance).sum(-1)
    log_weight = log_likelihood(x, model.decode(z), variance) + log_prior - log_q  # (samples, B)
    return torch.logsumexp(log_weight, dim=0) - math.log(samples)
