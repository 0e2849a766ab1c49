"""A strongly convex function that is no quadratic, with gradients whose noise is a multiple of the gradient itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from theorysim.backend import namespace, to_host
from theorysim.laws import start_error
from theorysim.model import Array, Draw, Problem, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.problems._constants import distances, norms
from theorysim.registry import register_problem
from theorysim.validation import finite, positive, positive_integer


@register_problem
def strong_growth(
    draws: Draws,
    dim: int = 6,
    a_min: float = 1e-2,
    rho: float = 2.0,
    start: str | Sequence[float] = "ones",
    low: float = 0.0,
    high: float = 1.0,
    start_decay: float = 1.0,
    support: int = 1,
    normalize: str | None = None,
    distance: float = 2.0,
) -> Problem:
    """f(w) = sum_j a_j (w_j^2/2 + log cosh w_j), f* = f(0) = 0, a_j from 1 down to ``a_min``, evenly spaced in the logarithm.

    The stochastic gradient is xi grad f(w), one xi for all coordinates of a row: ``rho`` >= 1 with probability 1/rho, else 0. So
    E |g|^2 = rho |grad f(w)|^2, strong growth with the smallest possible constant. ``start``, ``low``, ``high``, ``start_decay``,
    ``support``, ``normalize``, ``distance``: the start w_1, see laws.start_error (default: 2 in every coordinate).

    Constants: mu = min a_j, lambda_max = 2 max a_j (L of the papers) and L_1norm, L_infnorm, trace_H, for
    a_j <= f''_jj = a_j (1 + 1/cosh^2 w_j) <= 2 a_j = L_j; rho, dim, and per row D_inf_0, D_2_0 (distance of w_1 from 0) and
    Delta_0 = f(w_1). Vectors: L. Capabilities: hessian (the upper bound diag(L)).
    """
    dim = positive_integer("dim", dim)
    if positive("a_min", a_min) > 1:
        raise TheorysimError(f"a_min={a_min} is above the largest a_j, which is 1; give at most 1")
    if finite("rho", rho) < 1:
        raise TheorysimError(f"rho={rho} is not allowed: E |g|^2 is at least |grad f|^2; give at least 1")
    a_host = np.geomspace(1.0, a_min, dim)
    w1 = start_error(
        start, dim, draws, low=low, high=high, decay=start_decay, support=support, normalize=normalize, distance=distance
    )
    rho, xp, a = float(rho), draws.backend.xp, draws.backend.asarray(a_host)

    def gap(w: Array) -> Array:
        return xp.sum(a * (0.5 * w * w + log_cosh(w)), axis=1)

    def gradient(w: Array) -> Array:
        return a * (w + xp.tanh(w))

    def sample(w: Array, draw: Draw) -> Array:
        heard = xp.astype(draws.uniform(Stream.GRADIENT, draw, (1,)) < 1 / rho, xp.float64)
        return rho * heard * gradient(w)

    return Problem(
        shape=(dim,),
        start=w1,
        minimizer=xp.zeros_like(w1),
        constants={
            **norms("L", 2 * a_host, "1", "inf"),
            **distances(w1),
            "mu": float(a_host.min()),
            "lambda_max": float(2 * a_host.max()),
            "trace_H": float(2 * a_host.sum()),
            "rho": rho,
            "dim": dim,
            "Delta_0": to_host(gap(w1)),
        },
        gap=gap,
        gradient=gradient,
        sample=sample,
        vectors={"L": draws.backend.asarray(2 * a_host)},
        capabilities={"hessian": lambda: np.diag(2 * a_host)},
    )


def log_cosh(w: Array) -> Array:
    """log cosh w without overflow, and without cancellation where it is about w^2/2."""
    xp = namespace(w)
    size = xp.abs(w)
    small = xp.sinh(xp.where(size < 1, w, 0.0))
    return xp.where(size < 1, 0.5 * xp.log1p(small * small), size + xp.log1p(0.5 * xp.expm1(-2 * size)))
