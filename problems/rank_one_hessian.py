"""A quadratic whose Hessian has rank one and is dense: f(W) = 1/2 <U, X>^2 with X = W - W*."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import CPU, to_host
from theorysim.laws import vector
from theorysim.model import Array, Draw, Problem, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.problems._constants import distances, norms
from theorysim.problems._matrix_start import placed, start_matrix
from theorysim.problems._rotation import rotation as orthogonal
from theorysim.registry import register_problem
from theorysim.validation import finite, one_of, positive_integer

Floats = NDArray[np.float64]

_LEFT, _RIGHT, _ENTRIES = Draw(1), Draw(2), Draw(6)


@register_problem
def rank_one_hessian(
    draws: Draws,
    m: int = 16,
    n: int = 16,
    direction: str | Sequence[Sequence[float]] = "gaussian",
    values: str | Sequence[float] = "power",
    values_decay: float = 1.0,
    start: str | Sequence[Sequence[float]] = "gaussian",
    profile: str | Sequence[float] = "power",
    profile_decay: float = 0.0,
    normalize: str | None = None,
    distance: float = 1.0,
) -> Problem:
    """f(W) = 1/2 <U, X>^2, w* = 0: the Hessian vec(U) vec(U)' couples all columns, so a one-sided L >= H is far above it.

    ``direction``: U, the same for all runs: ``"gaussian"``, entries N(0, 1)/sqrt(m n); ``"values"``, P diag(s) Q' with random
    orthonormal P and Q and the singular values s of ``values``: ``"power"``, k^-values_decay, or min(m, n) numbers; or the rows
    of U, not all zero. ``start``, ``profile``, ``profile_decay``: X_1, see _matrix_start.start_matrix; ``normalize``,
    ``distance``: see _matrix_start.placed. The gradient <U, X> U is exact.

    I_n (x) L >= H if and only if tr(U' L^+ U) <= 1 (with U in the range of L); the least trace is ‖U‖_*^2, at
    L = ‖U‖_* (U U')^{1/2}, while tr H = ‖U‖_F^2: up to min(m, n) times smaller. [derived]
    Constants: L_nuclearnorm = ‖U‖_*^2, L_opnorm, lambda_max = trace_H = ‖U‖_F^2, lambda_min = 0, L_1norm = (sum_ij |U_ij|)^2,
    L_infnorm, l_1norm = (sum_i ‖row_i U‖)^2, the least sum of l with I_n (x) diag(l) >= H; m, n, and per row D_op_0, D_2_0,
    D_inf_0, D_row_0, Delta_0. Vector: L (m, n), L_ij = |U_ij| sum_kl |U_kl|. Capabilities: left_smoothness (L), hessian.
    """
    m, n = positive_integer("m", m), positive_integer("n", n)
    u = _direction(direction, (m, n), values, values_decay, draws)
    w1 = placed(start_matrix(start, (m, n), draws, profile=profile, profile_decay=profile_decay), normalize, distance)
    xp, along = draws.backend.xp, draws.backend.asarray(u)

    def product(w: Array) -> Array:
        return xp.sum(along * w, axis=(1, 2))

    def gap(w: Array) -> Array:
        return 0.5 * product(w) ** 2

    def gradient(w: Array) -> Array:
        return product(w)[:, None, None] * along

    p, s, _ = np.linalg.svd(u, full_matrices=False)
    smooth = np.abs(u) * np.abs(u).sum()
    return Problem(
        shape=(m, n),
        start=w1,
        minimizer=xp.zeros_like(w1),
        constants={
            "L_nuclearnorm": float(s.sum() ** 2),
            "L_opnorm": float(s.sum() * s[0]),
            "lambda_max": float((u**2).sum()),
            "lambda_min": 0.0 if m * n > 1 else float(u[0, 0] ** 2),
            "trace_H": float((u**2).sum()),
            **norms("L", smooth.ravel(), "1", "inf"),
            "l_1norm": float(np.linalg.norm(u, axis=1).sum() ** 2),
            **distances(w1),
            "m": m,
            "n": n,
            "Delta_0": to_host(gap(w1)),
        },
        gap=gap,
        gradient=gradient,
        sample=lambda w, draw: gradient(w),
        vectors={"L": draws.backend.asarray(smooth)},
        capabilities={
            "left_smoothness": lambda: s.sum() * (p * s) @ p.T,
            "hessian": lambda: np.outer(u.ravel(), u.ravel()),
        },
    )


def _direction(
    law: str | Sequence[Sequence[float]], shape: tuple[int, int], values: str | Sequence[float], decay: float, draws: Draws
) -> Floats:
    """U, ``(m, n)``, on the host."""
    m, n = shape
    if not isinstance(law, str):
        if len(law) != m or any(not isinstance(row, Sequence) or len(row) != n for row in law):
            raise TheorysimError(f"direction must be {m} rows of {n} numbers, or a word")
        u = np.array([[finite("an entry of direction", value) for value in row] for row in law])
        if not u.any():
            raise TheorysimError("direction is zero, and then f is zero everywhere; give a matrix that is not")
        return u
    if one_of("direction", law, ("gaussian", "values")) == "gaussian":
        return np.asarray(replace(draws, backend=CPU).shared_normal(Stream.INSTANCE, _ENTRIES, shape) / np.sqrt(m * n))
    k = min(m, n)
    if isinstance(values, str):
        one_of("values", values, ("power",))
        s = np.arange(1, k + 1.0) ** -finite("values_decay", decay)
    else:
        s = vector("values", values, k)
    left, right = (np.asarray(orthogonal("random", size, draws, draw)) for size, draw in ((m, _LEFT), (n, _RIGHT)))
    return np.asarray((left[:, :k] * s) @ right[:, :k].T)
