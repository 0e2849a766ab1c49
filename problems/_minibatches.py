"""Gradients of least squares on fresh minibatches: (1/M) sum_i x_i (x_i'e - xi_i), e = w - w*, from counter-based numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from theorysim.model import Array, Draw
from theorysim.noise import Draws, Stream

Floats = NDArray[np.float64]
Minibatch = Callable[[Array, Draw], Array]

BLOCK = 2**18  # numbers of covariates per row that are held at once


def of_gaussian(eigenvalues: Floats, label_noise: float, batch: int, draws: Draws) -> Minibatch:
    """For x ~ N(0, diag(eigenvalues)): e in the eigenbasis -> the gradient there, with O(M + dim) numbers in place of M dim.

    With x_i = S z_i, S = H^{1/2} and v = S e, the residuals r_i = v'z_i - xi_i know only the part s_i of z_i along v, and the
    parts across are independent of them. So sum_i r_i z_i is sum_i r_i s_i along v and, given the residuals, normal with
    variance sum_i r_i^2 in every direction across: the law is that of a minibatch, exactly.
    """
    xp, dim = draws.backend.xp, len(eigenvalues)
    root = draws.backend.asarray(np.sqrt(eigenvalues))
    noisy = label_noise > 0

    def gradient(e: Array, draw: Draw) -> Array:
        numbers = draws.normal(Stream.GRADIENT, draw, (dim + batch * (1 + noisy),))
        across, along = numbers[:, :dim], numbers[:, dim : dim + batch]
        v = root * e
        length = xp.sqrt(xp.sum(v * v, axis=1, keepdims=True))
        unit = v / xp.where(length > 0, length, 1.0)
        residuals = length * along - (label_noise * numbers[:, dim + batch :] if noisy else 0.0)
        across = across - unit * xp.sum(unit * across, axis=1, keepdims=True)
        inside = xp.sum(residuals * along, axis=1, keepdims=True)
        outside = xp.sqrt(xp.sum(residuals * residuals, axis=1, keepdims=True))
        return root * (unit * inside + across * outside) / batch

    return gradient


def of_decoupled(eigenvalues: Floats, kurtosis: float, label_noise: float, batch: int, draws: Draws) -> Minibatch:
    """For x = sqrt(dim lam_j) z q_j, j uniform: e in the eigenbasis -> the gradient there.

    z is standard normal for a ``kurtosis`` of 3; else +-sqrt(kurtosis) with probability 1/kurtosis, and 0.
    """
    xp, dim = draws.backend.xp, len(eigenvalues)
    squared = draws.backend.asarray(dim * eigenvalues)
    root, edge = xp.sqrt(squared), 0.5 / kurtosis

    def sizes(u: Array, numbers: Array) -> Array:
        if kurtosis == 3:
            return numbers[:, 0, :]
        return kurtosis**0.5 * (xp.astype(u < edge, xp.float64) - xp.astype(u > 1 - edge, xp.float64))

    def gradient(e: Array, draw: Draw) -> Array:
        uniform = draws.uniform(Stream.BATCH, draw, (2, batch))
        numbers = draws.normal(Stream.GRADIENT, draw, (2, batch)) if kurtosis == 3 or label_noise > 0 else uniform
        z, chosen = sizes(uniform[:, 1, :], numbers), xp.floor(uniform[:, 0, :] * float(dim))
        weights = xp.stack([z * z, z * numbers[:, 1, :]] if label_noise > 0 else [z * z], axis=1)
        sums = _by_direction(weights, chosen, dim, draws) / batch
        return squared * e * sums[:, 0, :] - (label_noise * root * sums[:, 1, :] if label_noise > 0 else 0.0)

    return gradient


def of_rows(rows: Floats, residuals: Floats | None, label_noise: float, batch: int, draws: Draws) -> Minibatch:
    """For x drawn from ``rows`` with replacement: e -> the gradient; xi_i is the residual of the row that was drawn, if given,
    else N(0, label_noise^2)."""
    xp, asarray, (count, dim) = draws.backend.xp, draws.backend.asarray, rows.shape
    placed, left_over = asarray(rows), None if residuals is None else asarray(residuals)

    def errors(chosen: Array, draw: Draw) -> Array:
        if left_over is not None:
            return xp.reshape(xp.take(left_over, xp.reshape(chosen, (-1,)), axis=0), chosen.shape)
        return label_noise * draws.normal(Stream.GRADIENT, draw, (batch,)) if label_noise > 0 else xp.zeros_like(placed[:1, :1])

    def gradient(e: Array, draw: Draw) -> Array:
        chosen = draws.integers(Stream.BATCH, draw, (batch,), count)
        xi, total = xp.broadcast_to(errors(chosen, draw), chosen.shape), xp.zeros_like(e)
        for part in _parts(batch, dim):
            x = xp.reshape(xp.take(placed, xp.reshape(chosen[:, part], (-1,)), axis=0), (e.shape[0], -1, dim))
            wrong = (x @ e[:, :, None])[:, :, 0] - xi[:, part]
            total = total + (wrong[:, None, :] @ x)[:, 0, :]
        return total / batch

    return gradient


def _by_direction(weights: Array, chosen: Array, dim: int, draws: Draws) -> Array:
    """(rows, kinds, batch) weights of samples in directions ``chosen`` (rows, batch) -> their sums, (rows, kinds, dim)."""
    xp, directions = draws.backend.xp, draws.backend.asarray(np.arange(dim, dtype=np.float64))
    total = xp.zeros_like(weights[:, :, :1])
    for part in _parts(chosen.shape[1], dim):
        hit = xp.astype(chosen[:, part, None] == directions, xp.float64)
        total = total + weights[:, :, part] @ hit
    return total


def _parts(batch: int, dim: int) -> Iterator[slice]:
    """Slices of a minibatch, small enough that their covariates fit."""
    size = max(1, BLOCK // dim)
    return (slice(first, min(first + size, batch)) for first in range(0, batch, size))
