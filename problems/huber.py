"""Separable Huber functions: f(w) = sum_j c_j h(w_j), a parabola near 0 and straight lines beyond."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from theorysim.backend import namespace, to_host
from theorysim.laws import spectrum as spectrum_law
from theorysim.laws import start_error
from theorysim.model import Array, Problem
from theorysim.noise import Draws
from theorysim.problems._constants import distances, norms
from theorysim.registry import register_problem
from theorysim.validation import positive, positive_integer


@register_problem
def huber(
    draws: Draws,
    dim: int = 1,
    threshold: float = 0.1,
    spectrum: str | Sequence[float] = "power",
    decay: float = 0.0,
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
) -> Problem:
    """A convex smooth function that is hard for gradient methods: far from w* = 0 the gradient does not grow, f* = f(0) = 0.

    h(x) = x^2/2 for |x| <= ``threshold`` and threshold (|x| - threshold/2) beyond, in units of w. ``spectrum``, ``decay``,
    ``kappa``, ``head``, ``scale``: the vector c, see laws.spectrum. ``start``, ``low``, ``high``, ``start_decay``, ``support``,
    ``normalize``, ``distance``: the start w_1, see laws.start_error. In one dimension, with threshold = R/(2n + 1) for the start
    at distance R, it is the worst of all smooth convex functions for n steps of gradient descent with step size 1/L: the gap is
    L R^2/(4n + 2). [Drori, Teboulle 2014, Section 3, recalled]

    Constants: L_1norm, L_infnorm, lambda_max, lambda_min = 0, dim, and per row D_inf_0, D_2_0 (distance of w_1 from 0) and
    Delta_0 = f(w_1). Vector: L = c, which bounds the Hessian and is it near 0. The gradient is exact.
    """
    dim, tau = positive_integer("dim", dim), positive("threshold", threshold)
    smooth = spectrum_law(spectrum, dim, draws, decay=decay, kappa=kappa, head=head, scale=scale)
    w1 = start_error(
        start, dim, draws, low=low, high=high, decay=start_decay, support=support, normalize=normalize, distance=distance
    )
    xp, weights = draws.backend.xp, draws.backend.asarray(smooth)

    def gap(x: Array) -> Array:
        size = xp.abs(x)
        return xp.sum(weights * xp.where(size <= tau, 0.5 * x * x, tau * (size - 0.5 * tau)), axis=1)

    def gradient(x: Array) -> Array:
        return weights * namespace(x).clip(x, -tau, tau)

    constants = {
        **norms("L", smooth, "1", "inf"),
        **distances(w1),
        "lambda_max": float(smooth.max()),
        "lambda_min": 0.0,
        "dim": dim,
        "Delta_0": to_host(gap(w1)),
    }
    return Problem(
        shape=(dim,),
        start=w1,
        minimizer=xp.zeros_like(w1),
        constants=constants,
        gap=gap,
        gradient=gradient,
        sample=lambda x, draw: gradient(x),
        vectors={"L": weights},
        capabilities={"hessian": lambda: np.diag(smooth)},
    )
