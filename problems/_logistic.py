"""The logistic loss in forms that neither overflow nor cancel, and its minimiser by Newton's method."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import namespace
from theorysim.model import Array, TheorysimError

Floats = NDArray[np.float64]

DECREMENT = 1e-12
_NEWTON_STEPS = 200
_SERIES = 0.01  # below it six terms of the series are exact to 4e-14, above it the closed form is
_LARGEST_EXPONENT = 700.0
_MARGIN = 1e-6  # a direction whose margins are below this part of the largest feature separates nothing


def chance_of_error(margin: Array) -> Array:
    """1 / (1 + e^margin), the negative slope of log(1 + e^-margin), without overflow."""
    xp = namespace(margin)
    small = xp.exp(-xp.abs(margin))
    return xp.where(margin > 0, small, 1.0) / (1 + small)


def divergence(t: Array, r: Array) -> Array:
    """log(1 - r + r e^t) - r t >= 0 to a relative error of some 1e-13, for 1e-280 < r <= 1/2; r (1 - r) t^2 / 2 for small t.

    It is the Bregman divergence of the logistic loss: for margins m and m + s, loss(m + s) - loss(m) - s loss'(m) is
    divergence(-s, r) if m >= 0 and divergence(s, r) if m < 0, with r = 1 / (1 + e^|m|). The series is that of the cumulants of a
    Bernoulli variable.
    """
    xp = namespace(t)
    v, skew = r * (1 - r), 1 - 2 * r
    tail = 1 - 6 * v + t / 5 * (skew * (1 - 12 * v) + t / 6 * (1 - 30 * v * (1 - 4 * v)))
    series = 0.5 * v * t * t * (1 + t / 3 * (skew + t / 4 * tail))
    capped = xp.where(t > _LARGEST_EXPONENT, _LARGEST_EXPONENT, t)  # beyond it the logarithm grows like t itself
    closed = xp.log1p(r * xp.expm1(capped)) + (t - capped) - r * t
    return xp.where(xp.abs(t) < _SERIES, series, closed)


def minimize(signed: Floats, ridge: float) -> Floats:
    """The minimiser of mean log(1 + exp(-signed w)) + ridge/2 |w|^2 by damped Newton steps from 0, to a decrement of 1e-12.

    ``signed``: (samples, dim), features times label. Without ridge the minimiser nearest to 0, for the steps stay in the span
    of the samples. Raises TheorysimError where there is no minimiser or where round-off stops the method before.
    """
    w = np.zeros(signed.shape[1])
    for _ in range(_NEWTON_STEPS):
        r = chance_of_error(signed @ w)
        gradient = ridge * w - r @ signed / len(signed)
        hessian = (signed.T * (r * (1 - r))) @ signed / len(signed) + ridge * np.eye(len(w))
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]  # one-hot groups make a ridgeless Hessian singular
        decrement = float(np.sqrt(max(gradient @ step, 0.0)))
        w = w - _damping(signed, ridge, w, step, decrement) * step
        if decrement <= DECREMENT:
            break
    else:
        raise TheorysimError(
            f"Newton's method stopped at a decrement of {decrement:.1e}, not {DECREMENT:g}; give a ridge above {ridge:g}"
        )
    if ridge == 0:
        _require_overlap(signed, w)
    return np.asarray(w)


def _damping(signed: Floats, ridge: float, w: Floats, step: Floats, decrement: float) -> float:
    """The largest of 1, 1/2, 1/4 ... that brings a quarter of the decrease a quadratic would; 1 where values no longer tell."""
    if decrement < 1e-4:
        return 1.0

    def value(point: Floats) -> float:
        return float(np.logaddexp(0, -signed @ point).mean() + ridge / 2 * point @ point)

    damping, before = 1.0, value(w)
    while value(w - damping * step) > before - 0.25 * damping * decrement**2 and damping > 1e-10:
        damping /= 2
    return damping


def _require_overlap(signed: Floats, w: Floats) -> None:
    """Without ridge a minimiser exists unless some u has all margins a_i'u >= 0 and one > 0 [Albert and Anderson 1984].

    Positive weights r with sum_i r_i a_i = 0 rule that out, and at the minimiser the chances of error are such weights: where the
    sum is only nearly 0, all margins of a u in the unit box are at most |sum|_1 / min r. Else a single feature or a linear
    program decides.
    """
    r = chance_of_error(signed @ w)
    largest = float(np.abs(signed).max(initial=0.0))
    if np.abs(r @ signed).sum() <= _MARGIN * largest * r.min():
        return
    one_sided = ((signed >= 0).all(axis=0) | (signed <= 0).all(axis=0)) & signed.any(axis=0)
    if one_sided.any() or _separating_margins(signed) > _MARGIN * largest:
        raise TheorysimError(
            "a hyperplane separates the two classes, so the logistic loss has no minimiser; give ridge=1e-3 or so"
        )


def _separating_margins(signed: Floats) -> float:
    """The largest sum of margins among the u in the unit box without a negative margin."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    margins: Any = csr_array(signed)
    best: Any = linprog(-signed.sum(axis=0), A_ub=-margins, b_ub=np.zeros(len(signed)), bounds=(-1, 1))
    return -float(best.fun)
