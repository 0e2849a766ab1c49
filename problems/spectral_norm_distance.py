"""The spectral norm of the error: every subgradient has rank one, and together they fill the space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from theorysim.backend import to_host
from theorysim.matrix_functions import singular_values, svd
from theorysim.model import Array, Problem
from theorysim.noise import Draws
from theorysim.problems._constants import distances
from theorysim.problems._left_basis import LeftBasis
from theorysim.problems._left_noise import LeftNoise
from theorysim.problems._matrix_start import placed, start_matrix
from theorysim.registry import register_problem
from theorysim.validation import non_negative, positive_integer


@register_problem
def spectral_norm_distance(
    draws: Draws,
    m: int = 16,
    n: int = 16,
    start: str | Sequence[Sequence[float]] = "profile",
    profile: str | Sequence[float] = "power",
    profile_decay: float = 0.05,
    normalize: str | None = None,
    distance: float = 1.0,
    noise: float = 0.0,
    batch: int = 1,
) -> Problem:
    """f(W) = ‖W - W*‖_op with w* = 0: convex, with a kink wherever the two largest singular values are equal.

    The subgradient is u_1 v_1', of rank one, and 0 at w*. A step lowers the largest singular value below the next one, so the
    direction changes from step to step and the span of the gradients grows to dimension min(m, n), although each of them has
    rank one. ``start``, ``profile``, ``profile_decay``: X_1, see _matrix_start.start_matrix (default: singular values that are
    close together, k^-.05); ``normalize``, ``distance``: see _matrix_start.placed. ``noise``: N = noise Z / sqrt(n batch) with
    standard normal Z, so E N N' = noise^2 / batch I.

    Constants: G_F = 1, the Lipschitz constant in the Frobenius norm; Q_nuclearnorm = tr B = (m (1 + m noise^2/batch))^{1/2}:
    this multiple B of the identity satisfies tr(B^{-1} E G G') <= tr B for every stochastic subgradient G [derived]; lambda_min
    = 0 (convex); V_nuclearnorm, V_opnorm, sigma_*, M, m, n, and per row D_op_0, D_2_0, D_inf_0, D_row_0, Delta_0 = D_op_0.
    Vector: sigma (m, n). Capabilities: left_gradient (B), left_noise (V = noise I).
    """
    m, n, batch = positive_integer("m", m), positive_integer("n", n), positive_integer("batch", batch)
    noisy = LeftNoise(np.full(m, non_negative("noise", noise)), LeftBasis.of(None, m, draws), n, batch)
    w1 = placed(start_matrix(start, (m, n), draws, profile=profile, profile_decay=profile_decay), normalize, distance)
    xp = draws.backend.xp

    def gap(w: Array) -> Array:
        return singular_values(w)[:, 0]

    def gradient(w: Array) -> Array:
        u, s, vt = svd(w)
        return xp.where(s[:, :1] > 0, 1.0, 0.0 * s[:, :1])[:, :, None] * (u[:, :, :1] @ vt[:, :1, :])

    b = float(np.sqrt((1 + m * noise**2 / batch) / m))
    return Problem(
        shape=(m, n),
        start=w1,
        minimizer=xp.zeros_like(w1),
        constants={
            "Q_nuclearnorm": m * b,
            "G_F": 1.0,
            "lambda_min": 0.0,
            **noisy.constants,
            **distances(w1),
            "m": m,
            "n": n,
            "Delta_0": to_host(gap(w1)),
        },
        gap=gap,
        gradient=gradient,
        sample=noisy.added(gradient, draws),
        vectors={"sigma": draws.backend.asarray(noisy.sigma)},
        capabilities={"left_gradient": lambda: b * np.eye(m), "left_noise": lambda: noisy.matrix},
    )
