"""A nonconvex function of a matrix with known matrix smoothness: f(W) = 1/2 sum_i a_i r_i / (1 + r_i), r_i = ‖u_i' X‖^2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from theorysim.backend import to_host
from theorysim.laws import spectrum as spectrum_law
from theorysim.model import Array, Problem
from theorysim.noise import Draws
from theorysim.problems._additive_noise import deviations
from theorysim.problems._constants import distances, norms
from theorysim.problems._left_basis import LeftBasis
from theorysim.problems._left_noise import LeftNoise
from theorysim.problems._matrix_start import placed, start_matrix
from theorysim.problems._row_sums import row_sums
from theorysim.registry import register_problem
from theorysim.validation import positive_integer


@register_problem
def matrix_nonconvex(
    draws: Draws,
    m: int = 16,
    n: int = 16,
    spectrum: str | Sequence[float] = "power",
    decay: float = 1.0,
    kappa: float = 10.0,
    head: int = 8,
    scale: float = 1.0,
    rotation: str | Sequence[Sequence[float]] | None = None,
    start: str | Sequence[Sequence[float]] = "gaussian",
    profile: str | Sequence[float] = "power",
    profile_decay: float = 0.0,
    normalize: str | None = None,
    distance: float = 2.0,
    noise: float | Sequence[float] = 0.0,
    noise_law: str = "flat",
    noise_decay: float = 1.0,
    batch: int = 1,
) -> Problem:
    """A function of the rows of U' X, X = W - W*, with w* = 0 and f* = 0: nonconvex where a row is longer than 1/sqrt(3).

    As a function of the length rho of a row, rho^2 / (2 (1 + rho^2)) has curvature between -1/4 and 1 along the row and
    (1 + rho^2)^-2 across it; hence f is matrix-smooth with L = U diag(a) U', attained at 0. [derived]
    ``spectrum``, ``decay``, ``kappa``, ``head``, ``scale``: a, see laws.spectrum. ``rotation``: U, with columns u_i, see
    _rotation.rotation. ``start``, ``profile``, ``profile_decay``: X_1, see _matrix_start.start_matrix; ``normalize``,
    ``distance``: see _matrix_start.placed (default: 2, rows of length about 1). ``noise``, ``noise_law``, ``noise_decay``: v, a
    list or a factor of ``flat`` 1, ``spectrum`` a, ``power`` i^-noise_decay; N = U diag(v) Z / sqrt(n batch) with standard normal
    Z, so E N N' = V^2 / batch with V = U diag(v) U'.

    Constants: L_nuclearnorm, L_opnorm, lambda_max (of L), L_1norm, L_infnorm, l_1norm (sum of l with diag(l) >= L),
    V_nuclearnorm, V_opnorm, sigma_*, M, m, n, and per row D_op_0, D_2_0, D_inf_0, D_row_0, Delta_0 = f(w_1).
    Vectors: L, sigma (m, n). Capabilities: left_smoothness, left_noise, hessian (the bound I_n (x) L on it).
    """
    m, n, batch = positive_integer("m", m), positive_integer("n", n), positive_integer("batch", batch)
    a = spectrum_law(spectrum, m, draws, decay=decay, kappa=kappa, head=head, scale=scale)
    basis, xp, weights = LeftBasis.of(rotation, m, draws), draws.backend.xp, draws.backend.asarray(a)
    noisy = LeftNoise(deviations(noise, noise_law, noise_decay, a), basis, n, batch)
    w1 = placed(start_matrix(start, (m, n), draws, profile=profile, profile_decay=profile_decay), normalize, distance)

    def gap(w: Array) -> Array:
        y = basis.inside(w)
        square = xp.sum(y * y, axis=2)
        return 0.5 * xp.sum(weights * square / (1 + square), axis=1)

    def gradient(w: Array) -> Array:
        y = basis.inside(w)
        return basis.outside((weights / (1 + xp.sum(y * y, axis=2)) ** 2)[:, :, None] * y)

    left = basis.matrix(a)
    rows = row_sums(left[None], float(a.max()))[0]
    smooth = np.tile(rows[:, None], n)
    return Problem(
        shape=(m, n),
        start=w1,
        minimizer=xp.zeros_like(w1),
        constants={
            "L_nuclearnorm": float(a.sum()),
            "L_opnorm": float(a.max()),
            "lambda_max": float(a.max()),
            **norms("L", smooth.ravel(), "1", "inf"),
            "l_1norm": float(rows.sum()),
            **noisy.constants,
            **distances(w1),
            "m": m,
            "n": n,
            "Delta_0": to_host(gap(w1)),
        },
        gap=gap,
        gradient=gradient,
        sample=noisy.added(gradient, draws),
        vectors={"L": draws.backend.asarray(smooth), "sigma": draws.backend.asarray(noisy.sigma)},
        capabilities={
            "left_smoothness": lambda: left,
            "left_noise": lambda: noisy.matrix,
            "hessian": lambda: np.kron(left, np.eye(n)),
        },
    )
