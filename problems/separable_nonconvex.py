"""A nonconvex separable function: f(x) = 1/2 sum_j L_j x_j^2 / (1 + x_j^2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from theorysim.backend import to_host
from theorysim.laws import spectrum as spectrum_law
from theorysim.laws import start_error
from theorysim.model import Array, Problem
from theorysim.noise import Draws
from theorysim.problems._additive_noise import deviations, noisy
from theorysim.problems._constants import distances, norms
from theorysim.registry import register_problem
from theorysim.validation import positive_integer


@register_problem
def separable_nonconvex(
    draws: Draws,
    dim: int = 50,
    spectrum: str | Sequence[float] = "power",
    decay: float = 1.0,
    kappa: float = 10.0,
    head: int = 8,
    scale: float = 1.0,
    start: str | Sequence[float] = "uniform",
    low: float = 0.0,
    high: float = 3.0,
    start_decay: float = 1.0,
    support: int = 1,
    normalize: str | None = None,
    distance: float = 1.0,
    zero_every: int | None = None,
    noise: float | Sequence[float] = 0.0,
    noise_law: str = "spectrum",
    noise_decay: float = 1.0,
    batch: int = 1,
) -> Problem:
    """A separable function with f* = f(0) = 0 that is nonconvex where |x_j| > 1/sqrt(3) and anisotropically smooth with exact L.

    phi(x) = x^2 / (2 (1 + x^2)) has phi''(x) = (1 - 3 x^2) / (1 + x^2)^3, between -1/4 and 1 = phi''(0), so no smaller L will do.
    ``spectrum``, ``decay``, ``kappa``, ``head``, ``scale``: the vector L, see laws.spectrum. ``start``, ``low``, ``high``,
    ``start_decay``, ``support``, ``normalize``, ``distance``: the start x_1, see laws.start_error (default: U(-3, 3)).
    ``zero_every``: every so many coordinates the start is 0. ``noise``: sigma_j as a list, or a factor of ``noise_law``:
    ``flat`` 1, ``spectrum`` L_j, ``power`` j^-noise_decay; the gradient noise is N(0, sigma_j^2 / batch).

    Constants: L_1norm, L_infnorm, lambda_max (an upper bound on the Hessian, attained at 0), sigma_1norm, sigma_2norm, M, dim,
    and per row D_inf_0, D_2_0 (distance of x_1 from 0) and Delta_0 = f(x_1). Vectors: L, sigma (for batch 1).
    """
    dim, batch = positive_integer("dim", dim), positive_integer("batch", batch)
    smooth = spectrum_law(spectrum, dim, draws, decay=decay, kappa=kappa, head=head, scale=scale)
    sigma = deviations(noise, noise_law, noise_decay, smooth)
    x1 = start_error(
        start, dim, draws, low=low, high=high, decay=start_decay, support=support, normalize=normalize, distance=distance
    )
    xp, asarray = draws.backend.xp, draws.backend.asarray
    if zero_every is not None:
        x1 = x1 * asarray(np.where(np.arange(1, dim + 1) % positive_integer("zero_every", zero_every) == 0, 0.0, 1.0))
    weights = asarray(smooth)

    def gap(x: Array) -> Array:
        square = x * x
        return 0.5 * xp.sum(weights * square / (1 + square), axis=1)

    def gradient(x: Array) -> Array:
        return weights * x / (1 + x * x) ** 2

    constants = {
        **norms("L", smooth, "1", "inf"),
        **norms("sigma", sigma, "1", "2"),
        **distances(x1),
        "lambda_max": float(smooth.max()),
        "M": batch,
        "dim": dim,
        "Delta_0": to_host(gap(x1)),
    }
    return Problem(
        shape=(dim,),
        start=x1,
        minimizer=xp.zeros_like(x1),
        constants=constants,
        gap=gap,
        gradient=gradient,
        sample=noisy(gradient, sigma, batch, draws),
        vectors={"L": weights, "sigma": asarray(sigma)},
        capabilities={"hessian": lambda: np.diag(smooth)},
    )
