"""Second moments where the noise grows with the error, or an average is put out: one matrix for a stage of equal steps.

In an eigendirection y = (E e^2, E e z, E z^2), with an average also (E e s, E z s, E s^2), s the sum of the errors so far, obeys

    y' = y + B y + n (additive_j + shared_j sum_k shared_k o y_k),   n = (eta^2, eta kappa, kappa^2),  o y = E u^2,

with the own noise of the direction in B. The map minus the identity, because the map itself has nearly equal eigenvalues close
to 1: their errors would be cube roots of the rounding. z is measured in units of 1 - momentum, which balances B. [derived; Liu,
Belkin 2020 for MaSS]

Of equal directions one stands for all, with the sum of their moments: what a noise shared by all needs to know.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from theorysim.backend import namespace, to_host
from theorysim.model import Array
from theorysim.moments.stage import Weights

_CALL, _ENTRY = (
    3e4,
    1.0,
)  # nanoseconds of a handful of array calls, and of one entry: only a choice between equal results hangs on it


class Noise(NamedTuple):
    """``additive``, ``own``, ``heard`` (shared_j): ``(dim,)``; ``spread``: heard times the number of equal directions. The last
    two are None where no noise is shared. On the device."""

    additive: Array
    own: Array
    heard: Array
    spread: Array


class Growth(NamedTuple):
    """``own``: B, ``(..., dim, n, n)``. ``kick``: n, ``(..., dim, n)``. ``reach``: o, ``(..., dim, n)``."""

    own: Array
    kick: Array
    reach: Array


def growth(step: Weights, noise: Noise, averaged: bool) -> Growth:
    """One step of every direction. Row and column order: e e, e z, z z, then e s, z s, s s."""
    xp = namespace(step.q)
    unit = step.friction
    one, zero = xp.ones_like(step.q), xp.zeros_like(step.q)
    a, b, c = -step.q, (1 - step.q * step.ahead) * unit, -step.kick / unit
    d1 = -(step.friction + step.kick * step.ahead)
    d, nu = 1 + d1, step.ahead * unit
    rows = [
        [a * (2 + a), 2 * (1 + a) * b, b * b],
        [(1 + a) * c, a + (1 + a) * d1 + b * c, b * d],
        [c * c, 2 * c * d, d1 * (2 + d1)],
    ]
    kick, reach = [step.lr**2, step.lr * step.push / unit, (step.push / unit) ** 2], [one, 2 * nu, nu * nu]
    rows = [[entry + noise.own * n * o for entry, o in zip(row, reach, strict=True)] for row, n in zip(rows, kick, strict=True)]
    if averaged:
        rows = [[*row, zero, zero, zero] for row in rows]
        rows += [[1 + a, b, zero, a, b, zero], [c, d, zero, c, d1, zero], [one, zero, zero, 2 * one, zero, zero]]
        kick, reach = [*kick, zero, zero, zero], [*reach, zero, zero, zero]
    return Growth(xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2), xp.stack(kick, axis=-1), xp.stack(reach, axis=-1))


def advanced(one: Growth, noise: Noise, bias: Array, variance: Array, steps: int) -> tuple[Array, Array]:
    """``steps`` steps later: what the start has left, and what the additive noise has added; ``(..., dim, n)`` each."""
    xp, push = namespace(bias), one.kick * noise.additive[..., None]
    if _walks(one, noise, steps):
        for _ in range(steps):
            bias, variance = bias + _moved(one, noise, bias), variance + _moved(one, noise, variance) + push
        return bias, variance
    matrix, shape = _matrix(one, noise), bias.shape
    blocks = (*shape[:-2], matrix.shape[-3], matrix.shape[-1])
    through, gained = _powers(matrix, xp.reshape(push, blocks), steps)
    bias, variance = _times(through, xp.reshape(bias, blocks)), _times(through, xp.reshape(variance, blocks)) + gained
    return xp.reshape(bias, shape), xp.reshape(variance, shape)


def decay(one: Growth, noise: Noise) -> NDArray[np.float64]:
    """1 - the spectral radius of the map of second moments, ``(...,)`` on the host: negative where the expectation diverges.

    From eigenvalues x of the map minus the identity, -(2 Re x + |x|^2)/(1 + |1 + x|), without cancellation.
    """
    x = np.linalg.eigvals(to_host(_matrix(one, noise)))
    found: NDArray[np.float64] = np.min(-(2 * x.real + np.abs(x) ** 2) / (1 + np.abs(1 + x)), axis=(-1, -2))
    return found


def stationary(one: Growth, noise: Noise) -> Array:
    """The moments that additive noise keeps up, ``(..., dim, n)``; without meaning where they diverge."""
    xp, push = namespace(one.kick), one.kick * noise.additive[..., None]
    matrix = _matrix(one, noise)
    blocks = (*push.shape[:-2], matrix.shape[-3], matrix.shape[-1], 1)
    return xp.reshape(xp.linalg.solve(-matrix, xp.reshape(push, blocks)), push.shape)


# ------------------------------------------------------------------------------------------------ two ways of one result
def _walks(one: Growth, noise: Noise, steps: int) -> bool:
    """Whether step by step is cheaper than powers of a matrix."""
    *rows, dim, n, _ = one.own.shape
    size = n if noise.spread is None else n * dim
    entries: int = math.prod(rows) * dim * n
    walk: float = steps * (_CALL + 3 * _ENTRY * entries * n)
    powers: float = 3 * steps.bit_length() * (_CALL + _ENTRY * entries * size * size / n)
    return walk <= powers


def _moved(one: Growth, noise: Noise, y: Array) -> Array:
    xp = namespace(y)
    own = _times(one.own, y)
    if noise.spread is None:
        return own
    heard = xp.sum(noise.heard[:, None] * one.reach * y, axis=(-1, -2), keepdims=True)
    return own + one.kick * noise.spread[:, None] * heard


def _matrix(one: Growth, noise: Noise) -> Array:
    """B, ``(..., blocks, size, size)``: a block for every direction, or one for all where noise is shared."""
    if noise.spread is None:
        return one.own
    xp, (*rows, dim, n, _) = namespace(one.own), one.own.shape
    out, into = one.kick * noise.spread[:, None], one.reach * noise.heard[:, None]
    full = out[..., :, :, None, None] * into[..., None, None, :, :]
    same = xp.eye(dim, dtype=full.dtype, device=array_api_compat.device(one.own))[:, None, :, None]
    full = full + same * one.own[..., :, :, None, :]
    return xp.reshape(full, (*rows, 1, dim * n, dim * n))


def _powers(matrix: Array, push: Array, steps: int) -> tuple[Array, Array]:
    """(I + B)^steps and sum_{i < steps} (I + B)^i push, by doubling.

    As I + (2 R + R^2), which keeps the digits of slow decay; once the power is small by squaring it, which keeps its own digits.
    """
    xp = namespace(matrix)
    identity = xp.eye(matrix.shape[-1], dtype=matrix.dtype, device=array_api_compat.device(matrix))
    less, whole, gained = matrix, identity + matrix, push
    for digit in bin(steps)[3:]:
        small = xp.max(xp.abs(whole), axis=(-1, -2), keepdims=True) < 0.5
        gained = gained + _times(whole, gained)
        twice = 2 * less + less @ less
        whole = xp.where(small, whole @ whole, identity + twice)
        less = xp.where(small, whole - identity, twice)
        if digit == "1":
            gained = gained + _times(matrix, gained) + push
            less, whole = less + matrix + matrix @ less, whole + matrix @ whole
    return whole, gained


def _times(matrix: Array, vector: Array) -> Array:
    return (matrix @ vector[..., None])[..., 0]
