"""A function that is smooth only in the generalized sense: f(x) = sum_j c_j (cosh(a_j x_j) - 1)."""

from __future__ import annotations

from collections.abc import Sequence
from math import cosh, e

import numpy as np

from theorysim.backend import to_host
from theorysim.laws import start_error
from theorysim.model import Array, Problem, TheorysimError
from theorysim.noise import Draws
from theorysim.problems._constants import distances, norms
from theorysim.registry import register_problem
from theorysim.validation import positive, positive_integer


@register_problem
def cosh_sum(
    draws: Draws,
    dim: int = 50,
    a_min: float = 0.5,
    a_max: float = 3.0,
    start: str | Sequence[float] = "ones",
    low: float = 0.0,
    high: float = 1.0,
    start_decay: float = 1.0,
    support: int = 1,
    normalize: str | None = None,
    distance: float = 3.0,
) -> Problem:
    """A convex separable function with f* = f(0) = 0 that is (L_0, L_1)-smooth in each coordinate but not smooth.

    The a_j are evenly spaced from ``a_min`` to ``a_max`` and c_j = a_j^-2, so the Hessian at 0 is the identity. ``start``,
    ``low``, ``high``, ``start_decay``, ``support``, ``normalize``, ``distance``: the start x_1, see laws.start_error (default: 3
    in every coordinate).
    For |h| <= 1/a: cosh(z + ah) <= cosh(1) cosh z + sinh(1) |sinh z| and cosh z <= 1 + |sinh z|, so on such steps
    phi'' <= L_0 + L_1 |phi'(x)| with L_0j = cosh(1) c_j a_j^2 and L_1j = e a_j.

    Constants: L_0_1norm, L_0_infnorm, L_1_infnorm, a_max, mu (strong convexity: c_j a_j^2 = 1), dim, and per row D_inf_0, D_2_0
    (distance of x_1 from 0) and Delta_0 = f(x_1). Vectors: L_0, L_1. The gradient is exact.
    """
    dim = positive_integer("dim", dim)
    if positive("a_min", a_min) > positive("a_max", a_max):
        raise TheorysimError(f"a_min={a_min} is above a_max={a_max}; exchange them")
    a_host = np.linspace(a_min, a_max, dim)
    c_host = a_host**-2
    level, slope = cosh(1.0) * c_host * a_host**2, e * a_host
    x1 = start_error(
        start, dim, draws, low=low, high=high, decay=start_decay, support=support, normalize=normalize, distance=distance
    )
    xp, asarray = draws.backend.xp, draws.backend.asarray
    a, c = asarray(a_host), asarray(c_host)

    def gap(x: Array) -> Array:
        half = xp.sinh(0.5 * a * x)
        return 2 * xp.sum(c * half * half, axis=1)

    def gradient(x: Array) -> Array:
        return c * a * xp.sinh(a * x)

    constants = {
        **norms("L_0", level, "1", "inf"),
        **norms("L_1", slope, "inf"),
        **distances(x1),
        "a_max": float(a_host.max()),
        "mu": float((c_host * a_host**2).min()),
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
        sample=lambda x, draw: gradient(x),
        vectors={"L_0": asarray(level), "L_1": asarray(slope)},
    )
