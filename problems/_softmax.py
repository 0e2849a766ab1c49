"""The softmax loss of several classes in forms that neither overflow nor cancel, and its minimiser by Newton's method."""

from __future__ import annotations

import numpy as np

from theorysim.backend import namespace
from theorysim.model import Array, TheorysimError
from theorysim.problems._datasets import Floats
from theorysim.problems._digits import Images

DECREMENT = 1e-12
_NEWTON_STEPS = 100
_SERIES = 0.01  # below it six terms of the series are exact to 4e-14, above it the closed form is
_LARGEST_EXPONENT = 700.0


def chances(scores: Array) -> Array:
    """e^z_k / sum_l e^z_l over the last axis, without overflow."""
    xp = namespace(scores)
    sizes = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
    return sizes / xp.sum(sizes, axis=-1, keepdims=True)


def loss(scores: Array, classes: Array) -> Array:
    """log sum_k e^z_k - z_y over the last axis, y the class; exact to rounding where it is tiny, and without overflow."""
    xp = namespace(scores)
    ahead = scores - xp.sum(scores * classes, axis=-1, keepdims=True)
    most = xp.max(ahead, axis=-1, keepdims=True)  # at least 0, that of the class itself
    others = xp.sum(xp.exp(ahead - most) * (1 - classes), axis=-1)
    return most[..., 0] + xp.log1p(others + xp.expm1(-most[..., 0]))


def divergence(d: Array, p: Array) -> Array:
    """log(sum_k p_k e^d_k) - sum_k p_k d_k >= 0 over the last axis, to a relative error of some 1e-13, for chances p > 1e-280.

    It is the Bregman divergence of log sum_k e^z_k from scores with chances p to scores that are larger by d. With the mean
    sum_k p_k d_k taken off d first, it is log(1 + sum_k p_k (e^c_k - 1 - c_k)): no term is negative, so nothing cancels.
    """
    xp = namespace(d)
    # measured from the class with the largest chance, whose own c may be tiny although d is not
    lead = xp.astype(p == xp.max(p, axis=-1, keepdims=True), p.dtype)
    c = d - xp.sum(lead * d, axis=-1, keepdims=True) / xp.sum(lead, axis=-1, keepdims=True)
    c = c - xp.sum(p * c, axis=-1, keepdims=True)
    top = xp.max(c, axis=-1, keepdims=True)
    shift = xp.where(top > _LARGEST_EXPONENT, top - _LARGEST_EXPONENT, 0.0)  # beyond it the logarithm grows like top itself
    total = xp.sum(p * _beyond_linear(c - shift), axis=-1)
    return shift[..., 0] + xp.log1p(total - shift[..., 0])


def _beyond_linear(c: Array) -> Array:
    """e^c - 1 - c."""
    xp = namespace(c)
    series = 0.5 * c * c * (1 + c / 3 * (1 + c / 4 * (1 + c / 5 * (1 + c / 6 * (1 + c / 7)))))
    return xp.where(xp.abs(c) < _SERIES, series, xp.expm1(c) - c)


def minimize(data: Images, ridge: float) -> Floats:
    """The minimiser (m, classes) of mean loss + ridge/2 ‖W‖_F^2 by damped Newton steps from 0, to a decrement of 1e-12.

    ``data`` is on the host, ``ridge`` positive. Raises TheorysimError where round-off stops the method before.
    """
    w = np.zeros((data.features.shape[1], data.classes.shape[1]))
    for _ in range(_NEWTON_STEPS):
        p = np.asarray(chances(data.features @ w))
        gradient = data.features.T @ (p - data.classes) / len(p) + ridge * w
        step = np.linalg.solve(_hessian(data.features, p, ridge), gradient.ravel()).reshape(w.shape)
        decrement = float(np.sqrt(max(float((gradient * step).sum()), 0.0)))
        w = w - _damping(data, ridge, w, step, decrement) * step
        if decrement <= DECREMENT:
            return np.asarray(w)
    raise TheorysimError(
        f"Newton's method stopped at a decrement of {decrement:.1e}, not {DECREMENT:g}; give a ridge above {ridge:g}"
    )


def _hessian(features: Floats, p: Floats, ridge: float) -> Floats:
    """mean over samples of aa' (x) (diag(p) - pp'), plus ridge I: (m classes, m classes), index i * classes + k."""
    (count, m), n = features.shape, p.shape[1]
    blocks = np.empty((m, n, m, n))
    for k in range(n):
        for j in range(k + 1):
            weights = p[:, k] * ((j == k) - p[:, j])
            blocks[:, k, :, j] = (features.T * weights) @ features / count
            blocks[:, j, :, k] = blocks[:, k, :, j]
    return np.asarray(blocks.reshape(m * n, m * n) + ridge * np.eye(m * n))


def _damping(data: Images, ridge: float, w: Floats, step: Floats, decrement: float) -> float:
    """The largest of 1, 1/2, 1/4 ... that brings a quarter of the decrease a quadratic would; 1 where values no longer tell."""
    if decrement < 1e-4:
        return 1.0

    def value(point: Floats) -> float:
        return float(np.mean(loss(data.features @ point, data.classes)) + ridge / 2 * (point**2).sum())

    damping, before = 1.0, value(w)
    while value(w - damping * step) > before - 0.25 * damping * decrement**2 and damping > 1e-10:
        damping /= 2
    return damping
