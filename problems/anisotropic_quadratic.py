"""Quadratics with a chosen spectrum: f(w) = 1/2 (w - w*)' H (w - w*), H = Q diag(spectrum) Q'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import to_host
from theorysim.laws import spectrum as spectrum_law
from theorysim.laws import start_error
from theorysim.model import Array, GradientNoise, Problem
from theorysim.noise import Draws
from theorysim.problems._additive_noise import deviations, noisy
from theorysim.problems._constants import distances, norms
from theorysim.problems._eigenbasis import turns
from theorysim.problems._rotation import rotation as orthogonal
from theorysim.problems._row_sums import row_sums
from theorysim.registry import register_problem
from theorysim.validation import one_of, positive_integer


@register_problem
def anisotropic_quadratic(
    draws: Draws,
    dim: int = 100,
    spectrum: str | Sequence[float] = "power",
    decay: float = 1.0,
    kappa: float = 10.0,
    head: int = 8,
    scale: float = 1.0,
    start: str | Sequence[float] = "ones",
    low: float = 0.0,
    high: float = 1.0,
    start_decay: float = 1.0,
    support: int = 1,
    normalize: str | None = None,
    distance: float = 1.0,
    origin: str = "minimizer",
    rotation: str | Sequence[Sequence[float]] | None = None,
    noise: float | Sequence[float] = 0.0,
    noise_law: str = "flat",
    noise_decay: float = 1.0,
    batch: int = 1,
) -> Problem:
    """A quadratic that is anisotropically smooth with known L, with additive noise N(0, sigma_j^2 / batch) in the gradient.

    ``spectrum``, ``decay``, ``kappa``, ``head``, ``scale``: eigenvalues of H, see laws.spectrum. ``start``, ``low``, ``high``,
    ``start_decay``, ``support``, ``normalize``, ``distance``: the error y, see laws.start_error; w_1 - w* = Q y.
    ``origin``: which of w* and w_1 lies at 0 (``"minimizer"`` or ``"start"``). ``rotation``: None (H is diagonal), ``"random"``
    (Haar), ``"hadamard"`` (dim a power of 2), ``"pairs"`` (45 degrees in each pair of coordinates) or the rows of an orthogonal
    matrix Q. ``noise``: sigma_j as a list, or a factor of ``noise_law``: ``flat`` 1, ``spectrum`` the eigenvalue, ``power``
    j^-noise_decay.

    Constants: L_1norm, L_infnorm, lambda_max, lambda_min, trace_H, sigma_1norm, sigma_2norm, M, dim, and per row D_inf_0,
    D_2_0 (distance of w_1 from w*) and Delta_0 = f(w_1) - f*. Vectors: L, sigma (for batch 1).
    Capabilities: hessian; and, in the order of the eigenvalues, spectrum (host, ``(dim,)``), eigenbasis (e -> Q' e for rows e)
    and gradient_noise (of the entries of Q' g, see model.GradientNoise).
    L_j is the eigenvalue for a diagonal H; else sum_k |H_jk| or lambda_max for all j, whichever has the smaller sum.
    """
    dim, batch = positive_integer("dim", dim), positive_integer("batch", batch)
    eigenvalues = spectrum_law(spectrum, dim, draws, decay=decay, kappa=kappa, head=head, scale=scale)
    q = orthogonal(rotation, dim, draws)
    y = start_error(
        start, dim, draws, low=low, high=high, decay=start_decay, support=support, normalize=normalize, distance=distance
    )
    smooth, sigma = _smoothness(eigenvalues, q), deviations(noise, noise_law, noise_decay, eigenvalues)
    xp, asarray = draws.backend.xp, draws.backend.asarray
    turn, back = turns(q, draws.backend)
    curvature, error = asarray(eigenvalues), back(y)
    minimizer = xp.zeros_like(error) if one_of("origin", origin, ("minimizer", "start")) == "minimizer" else -error

    def gap(x: Array) -> Array:
        e = turn(x - minimizer)
        return 0.5 * xp.sum(curvature * e * e, axis=1)

    def gradient(x: Array) -> Array:
        return back(curvature * turn(x - minimizer))

    constants = {
        **norms("L", smooth, "1", "inf"),
        **norms("sigma", sigma, "1", "2"),
        **distances(error),
        "lambda_max": float(eigenvalues.max()),
        "lambda_min": float(eigenvalues.min()),
        "trace_H": float(eigenvalues.sum()),
        "M": batch,
        "dim": dim,
        "Delta_0": to_host(gap(minimizer + error)),
    }
    return Problem(
        shape=(dim,),
        start=minimizer + error,
        minimizer=minimizer,
        constants=constants,
        gap=gap,
        gradient=gradient,
        sample=noisy(gradient, sigma, batch, draws),
        vectors={"L": asarray(smooth), "sigma": asarray(sigma)},
        capabilities={
            "hessian": lambda: _hessian(eigenvalues, q),
            "spectrum": eigenvalues,
            "eigenbasis": turn,
            "gradient_noise": GradientNoise((sigma**2 if q is None else sigma**2 @ q**2) / batch),
        },
    )


def _hessian(eigenvalues: NDArray[np.float64], q: NDArray[np.float64] | None) -> NDArray[np.float64]:
    return np.diag(eigenvalues) if q is None else (q * eigenvalues) @ q.T


def _smoothness(eigenvalues: NDArray[np.float64], q: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """A vector L with diag(L) >= H."""
    return eigenvalues if q is None else row_sums(_hessian(eigenvalues, q)[None], float(eigenvalues.max()))[0]
