"""One round of gossip, W_t X for X (rows, m, d), so that a row does not depend on the batch it stands in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from theorysim.model import Array, Draw, TheorysimError
from theorysim.noise import Draws, Stream

Mix = Callable[[Array, int], Array]
Sparse = Any  # a scipy.sparse.csr_array of float64

# A dense product does some ten times as many operations a second as a sparse one.
_SPARSE_FROM, _SPARSE_UP_TO = 256, 0.05


def mixing(weights: Sequence[Sparse], loss: float, draws: Draws) -> Mix:
    """(X, t) -> W_t X; the matrices take turns, t = 1, 2, ...

    ``loss``: the probability with which each edge, in each round and run, is lost both ways; its weight goes to the diagonal,
    so that W_t stays symmetric and doubly stochastic. On the CPU a large sparse matrix stays sparse; elsewhere it becomes
    dense. Raises TheorysimError where it does not fit.
    """
    rounds = [_round(matrix, loss, draws) for matrix in weights]
    return lambda x, t: rounds[(t - 1) % len(rounds)](x, t)


def _round(matrix: Sparse, loss: float, draws: Draws) -> Mix:
    m = matrix.shape[0]
    if draws.backend.name == "cpu" and m >= _SPARSE_FROM and matrix.nnz <= _SPARSE_UP_TO * m * m:
        return _sparse_lossy(matrix, loss, draws) if loss else _sparse(matrix)
    copies = 2 + 2 * len(draws.runs) if loss else 1
    if 8 * m * m * copies > draws.backend.free_memory():
        raise TheorysimError(
            f"m={m} agents: {copies} dense m x m matrices do not fit into the memory here; take fewer agents, or fewer edges and "
            "the CPU, where a sparse matrix stays sparse"
        )
    if loss:
        return _dense_lossy(matrix, loss, draws)
    placed = draws.backend.asarray(matrix.toarray())
    return lambda x, t: placed @ x


def _sparse(matrix: Sparse) -> Mix:
    def mix(x: Array, _: int) -> Array:
        mixed = np.empty(x.shape)
        for before, after in zip(x, mixed, strict=True):
            after[...] = matrix @ before
        return mixed

    return mix


# ------------------------------------------------------------------------------------------------ losses
def _links(matrix: Sparse) -> tuple[Sparse, np.ndarray[Any, Any], int]:
    """W without its diagonal, the number of the edge that each of its entries belongs to, and how many edges there are."""
    coo = matrix.tocoo()
    between = coo.row != coo.col
    off = csr_array((coo.data[between], (coo.row[between], coo.col[between])), shape=matrix.shape)
    rows = np.repeat(np.arange(off.shape[0]), np.diff(off.indptr))
    ends = np.stack([np.minimum(rows, off.indices), np.maximum(rows, off.indices)], axis=1)
    distinct, number = np.unique(ends, axis=0, return_inverse=True)
    return off, number.reshape(-1), len(distinct)


def _lost(draws: Draws, t: int, edges: int) -> Array:
    """Uniform numbers for the edges of round t, (rows, edges). What belongs to all runs shares this stream, but no run number."""
    return draws.uniform(Stream.INSTANCE, Draw(t), (edges,))


def _sparse_lossy(matrix: Sparse, loss: float, draws: Draws) -> Mix:
    off, number, edges = _links(matrix)

    def mix(x: Array, t: int) -> Array:
        mixed = np.empty(x.shape)
        for kept, before, after in zip(_lost(draws, t, edges) >= loss, x, mixed, strict=True):
            left = csr_array((off.data * kept[number], off.indices, off.indptr), shape=off.shape)
            after[...] = left @ before
            after += (1 - left.sum(axis=1))[:, None] * before
        return mixed

    return mix


def _dense_lossy(matrix: Sparse, loss: float, draws: Draws) -> Mix:
    off, number, edges = _links(matrix)
    m, xp = off.shape[0], draws.backend.xp
    places = np.full((m, m), edges)  # the last number stands for no edge
    places[np.repeat(np.arange(m), np.diff(off.indptr)), off.indices] = number
    links, where = draws.backend.asarray(off.toarray()), draws.backend.asarray(places.reshape(-1))

    def mix(x: Array, t: int) -> Array:
        kept = xp.astype(_lost(draws, t, edges) >= loss, x.dtype)
        kept = xp.concat([kept, xp.zeros_like(kept[:, :1])], axis=1)
        left = links * xp.reshape(xp.take(kept, where, axis=1), (-1, m, m))
        return left @ x + (1 - xp.sum(left, axis=2, keepdims=True)) * x

    return mix
