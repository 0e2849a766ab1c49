"""Finite sums that agents hold, f_i = mean of n components each: sampling from the whole pool, and the constants.

All agents of a run share one source of random numbers, so they agree on a draw without a message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.agents import FiniteSum
from theorysim.backend import namespace
from theorysim.model import Array, Draw
from theorysim.noise import Draws, Stream
from theorysim.validation import positive_integer

Floats = NDArray[np.float64]
Gradients = tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]  # local_gradient and weighted_gradient
Share = Callable[[int], Gradients]


def finite_sum(
    local_gradient: Callable[[Array], Array],
    weighted_gradient: Callable[[Array, Array], Array],
    smoothness: Floats,
    draws: Draws,
    share: Share | None = None,
) -> FiniteSum:
    """The capability ``finite_sum``; ``smoothness``: L_ij, host, ``(m, n)``, which importance sampling is proportional to.
    ``share``: agent i -> the two functions for this agent alone, on copies of what it holds.

    ``draw_pool``: the counts of b independent choices among all m n components, Multinomial(b, q), so that (m/b) sum_j
    [counts_ij/(N q_ij)] grad f_ij(x_i) estimates grad f_i(x_i) without bias.
    """
    m, n = smoothness.shape
    weights = draws.backend.asarray(np.cumsum(smoothness.reshape(-1))[:-1] / smoothness.sum())
    xp = draws.backend.xp

    def draw_pool(draw: Draw, batch: int, importance: bool = False) -> Array:
        u = draws.uniform(Stream.BATCH, draw, (positive_integer("batch", batch),))
        if importance:
            chosen = xp.reshape(xp.searchsorted(weights, xp.reshape(u, (-1,)), side="right"), u.shape)
        else:
            chosen = xp.astype(xp.floor(u * float(m * n)), xp.int64)
        return xp.reshape(_tally(chosen, m * n, draws), (-1, m, n))

    def draw_local(draw: Draw, batch: int) -> Array:
        u = draws.uniform(Stream.BATCH, draw, (m, positive_integer("batch", batch)))
        chosen = xp.reshape(xp.astype(xp.floor(u * float(n)), xp.int64), (-1, u.shape[2]))
        return xp.reshape(_tally(chosen, n, draws), (-1, m, n))

    def coin(draw: Draw, chance: Any) -> Array:
        return (draws.uniform(Stream.BATCH, draw, (1,)) < chance)[:, 0]

    def chances(importance: bool) -> Floats:
        return smoothness / smoothness.sum() if importance else np.full((m, n), 1.0 / (m * n))

    return FiniteSum(m, n, local_gradient, weighted_gradient, draw_pool, draw_local, chances, coin, share)


def _tally(chosen: Array, size: int, draws: Draws) -> Array:
    """How often each of 0, ..., size - 1 is in each row of ``chosen``: ``(rows, b) -> (rows, size)``, as floats."""
    xp, rows = draws.backend.xp, chosen.shape[0]
    first = xp.arange(rows, dtype=xp.int64, device=draws.backend.device) * size
    cells = xp.reshape(chosen + first[:, None], (-1,))
    if isinstance(cells, np.ndarray):  # fifty times as fast
        counts = np.bincount(cells, minlength=rows * size)
    else:
        edges = xp.arange(rows * size + 1, dtype=xp.int64, device=draws.backend.device)
        below = xp.searchsorted(xp.sort(cells), edges)
        counts = below[1:] - below[:-1]
    return xp.reshape(xp.astype(counts, xp.float64), (rows, size))


def pooled_sample(parts: FiniteSum, batch: int) -> Callable[[Array, Draw], Array]:
    """The stochastic gradient of f on ``batch`` components drawn uniformly from the pool."""

    def sample(x: Array, draw: Draw) -> Array:
        xp, (rows, dim) = namespace(x), x.shape
        counts = parts.draw_pool(draw, batch, False)
        points = xp.broadcast_to(x[:, None, :], (rows, parts.agents, dim))
        return xp.sum(parts.weighted_gradient(points, counts), axis=1) / batch

    return sample


# ------------------------------------------------------------------------------------------------ constants
def pool_constants(smoothness: Floats, L_g: float, mu: float, L_loc: float, mu_loc: float) -> dict[str, float]:
    """The constants of a finite sum, of f, of its components and of the f_i; condition numbers only where they are finite.

    L_s = max L_ij/(N q_ij): max L_ij for uniform sampling, the mean of the L_ij for importance sampling.
    """
    m, n = smoothness.shape
    found = {"m": m, "n": n, "N": m * n, "L_g": L_g, "lambda_max": L_g, "mu": mu, "L_loc": L_loc, "mu_loc": mu_loc}
    found["L_max"] = found["L_s"] = float(smoothness.max())
    found["L_s_importance"] = float(np.sort(smoothness, axis=None).mean())  # in one order, wherever the components are
    if mu > 0:
        found |= {"kappa_g": L_g / mu, "kappa_s": found["L_s"] / mu, "kappa_s_importance": found["L_s_importance"] / mu}
    return found | ({"kappa_loc": L_loc / mu_loc} if mu_loc > 0 else {})
