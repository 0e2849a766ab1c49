"""A nonsmooth function of a matrix: a weighted sum of the norms of its rows, in other coordinates on the left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from theorysim.backend import to_host
from theorysim.laws import spectrum as spectrum_law
from theorysim.model import Array, Problem
from theorysim.noise import Draws
from theorysim.problems._constants import distances, norms
from theorysim.problems._left_basis import LeftBasis
from theorysim.problems._left_noise import LeftNoise
from theorysim.problems._matrix_start import placed, start_matrix
from theorysim.registry import register_problem
from theorysim.validation import non_negative, positive_integer


@register_problem
def rotated_group_norm(
    draws: Draws,
    m: int = 16,
    n: int | None = None,
    spectrum: str | Sequence[float] = "head_bulk",
    decay: float = 1.0,
    kappa: float = 10.0,
    head: int = 8,
    scale: float = 1.0,
    rotation: str | Sequence[Sequence[float]] | None = "random",
    start: str | Sequence[Sequence[float]] = "gaussian",
    profile: str | Sequence[float] = "power",
    profile_decay: float = 0.0,
    normalize: str | None = None,
    distance: float = 1.0,
    noise: float = 0.0,
    batch: int = 1,
) -> Problem:
    """f(W) = sum_i c_i ‖u_i' X‖_2 with X = W - W*, w* = 0: convex, with a kink wherever a row of U' X is zero.

    The subgradient is U diag(c_i / ‖u_i' X‖) U' X, 0 in a row that is zero. ``n``: columns, m where none are given.
    ``spectrum``, ``decay``, ``kappa``, ``head``, ``scale``: the weights c, see laws.spectrum. ``rotation``: U, with columns u_i,
    see _rotation.rotation. ``start``, ``profile``, ``profile_decay``: X_1, see _matrix_start.start_matrix; ``normalize``,
    ``distance``: see _matrix_start.placed. ``noise``: the stochastic subgradient has noise N = noise Z / sqrt(n batch) with
    standard normal Z, so E N N' = noise^2 / batch I.

    Constants: Q_nuclearnorm = tr B, where B = U diag(b) U' with b_i = (c_i^2 + noise^2/batch)^{1/2} satisfies
    tr(B^{-1} E G G') <= tr B for every stochastic subgradient G, so E tr (G_1 G_1' + .. + G_T G_T')^{1/2} <= sqrt(T) tr B;
    without noise it is sum c. [derived] G_F = c_2norm, the Lipschitz constant in the Frobenius norm; lambda_min = 0 (convex);
    V_nuclearnorm, V_opnorm, sigma_*, M, m, n, and per row D_op_0, D_2_0, D_inf_0, D_row_0, Delta_0. Vector: sigma (m, n).
    Capabilities: left_gradient (B), left_noise (V = noise I).
    """
    m = positive_integer("m", m)
    n = m if n is None else positive_integer("n", n)
    c = spectrum_law(spectrum, m, draws, decay=decay, kappa=kappa, head=head, scale=scale)
    basis, xp, weights = LeftBasis.of(rotation, m, draws), draws.backend.xp, draws.backend.asarray(c)
    noisy = LeftNoise(np.full(m, non_negative("noise", noise)), LeftBasis.of(None, m, draws), n, positive_integer("batch", batch))
    w1 = placed(start_matrix(start, (m, n), draws, profile=profile, profile_decay=profile_decay), normalize, distance)

    def lengths(y: Array) -> Array:
        return xp.sqrt(xp.sum(y * y, axis=2))

    def gap(w: Array) -> Array:
        return xp.sum(weights * lengths(basis.inside(w)), axis=1)

    def gradient(w: Array) -> Array:
        y = basis.inside(w)
        r = lengths(y)
        return basis.outside(xp.where(r > 0, weights / xp.where(r > 0, r, 1.0), 0.0 * r)[:, :, None] * y)

    b, c_norm = np.sqrt(c**2 + noisy.v**2 / batch), norms("c", c, "2")
    return Problem(
        shape=(m, n),
        start=w1,
        minimizer=xp.zeros_like(w1),
        constants={
            "Q_nuclearnorm": float(b.sum()),
            **c_norm,
            "G_F": c_norm["c_2norm"],
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
        capabilities={"left_gradient": lambda: basis.matrix(b), "left_noise": lambda: noisy.matrix},
    )
