"""Quadratics whose Hessian has one block for each column: f(W) = 1/2 sum_j x_j' H_j x_j, x_j the columns of X = W - W*."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import CPU, to_host
from theorysim.laws import spectrum as spectrum_law
from theorysim.model import Array, Draw, Problem, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.problems._constants import distances, norms
from theorysim.problems._matrix_start import placed, start_matrix
from theorysim.problems._rotation import rotation as orthogonal
from theorysim.problems._row_sums import row_sums
from theorysim.problems._semidefinite import least_trace
from theorysim.registry import register_problem
from theorysim.validation import finite, non_negative, one_of, positive_integer

Floats = NDArray[np.float64]

_FACTORS, _BASES = Draw(4), Draw(5)
_ROUNDING = 1e-12  # of the largest entry: what a given block may be off from symmetric, semidefinite or commuting


@register_problem
def block_diagonal_hessian(
    draws: Draws,
    m: int = 16,
    n: int = 24,
    blocks: str | Sequence[Sequence[Sequence[float]]] = "commuting",
    spectrum: str | Sequence[float] = "power",
    decay: float = 1.0,
    kappa: float = 10.0,
    head: int = 8,
    scale: float = 1.0,
    low: float = 0.0,
    rotation: str | Sequence[Sequence[float]] | None = None,
    smoothness: str = "max",
    start: str | Sequence[Sequence[float]] = "gaussian",
    profile: str | Sequence[float] = "power",
    profile_decay: float = 0.0,
    normalize: str | None = None,
    distance: float = 1.0,
) -> Problem:
    """A quadratic of an m x n matrix with a Hessian block H_j per column, matrix-smooth with L >= H_j for all j; w* = 0.

    ``blocks``: ``"commuting"``, H_j = U diag(a_i t_ij) U' with random t_ij in U(low, 1); ``"generic"``, the same with a random
    orthogonal U_j for each block; ``"ramp"``, H_j = U diag(a) U' j/n; or a list of n symmetric positive semidefinite m x m
    matrices. ``spectrum``, ``decay``, ``kappa``, ``head``, ``scale``: a, see laws.spectrum. ``rotation``: U, see
    _rotation.rotation. ``start``, ``profile``, ``profile_decay``: X_1, see _matrix_start.start_matrix; ``normalize``,
    ``distance``: see _matrix_start.placed. The gradient is exact.

    ``smoothness``: which L is certified. ``"max"``: the largest eigenvalue in each common direction, the least trace there is;
    for blocks that commute. ``"sum"``: the sum of the blocks. ``"sdp"``: the least trace, by a semidefinite program, for m of at
    most 16 and with theorysim[pep]. Raises TheorysimError for ``"max"`` with blocks that do not commute.

    Constants: L_nuclearnorm, L_opnorm, lambda_max, lambda_min, trace_H, L_1norm, L_infnorm, l_1norm (sum of l with
    diag(l) >= H_j for all j), m, n, and per row D_op_0, D_2_0, D_inf_0, D_row_0, Delta_0. Vector: L (m, n), diag(L) >= Hessian.
    Capabilities: left_smoothness (L), blocks (H_1, .., H_n as (n, m, m)), hessian.
    """
    m, n = positive_integer("m", m), positive_integer("n", n)
    if isinstance(blocks, str):
        a = spectrum_law(spectrum, m, draws, decay=decay, kappa=kappa, head=head, scale=scale)
        known = _drawn(blocks, a, n, low, orthogonal(rotation, m, draws), draws)
    else:
        known = _decomposed(_given(blocks, m, n))
    left = _left(known, one_of("smoothness", smoothness, ("max", "sum", "sdp")))
    inside, outside, xp = *known.maps(draws), draws.backend.xp
    curvature = draws.backend.asarray(known.values)
    w1 = placed(start_matrix(start, (m, n), draws, profile=profile, profile_decay=profile_decay), normalize, distance)

    def gap(w: Array) -> Array:
        y = inside(w)
        return 0.5 * xp.sum(curvature * y * y, axis=(1, 2))

    def gradient(w: Array) -> Array:
        return outside(curvature * inside(w))

    diagonal = row_sums(known.blocks, np.asarray(np.linalg.eigvalsh(known.blocks)[:, -1])).T
    return Problem(
        shape=(m, n),
        start=w1,
        minimizer=xp.zeros_like(w1),
        constants={
            "L_nuclearnorm": float(np.trace(left)),
            "L_opnorm": float(np.linalg.eigvalsh(left)[-1]),
            "lambda_max": float(known.values.max()),
            "lambda_min": float(known.values.min()),
            "trace_H": float(known.values.sum()),
            **norms("L", diagonal.ravel(), "1", "inf"),
            "l_1norm": float(diagonal.max(axis=1).sum()),
            **distances(w1),
            "m": m,
            "n": n,
            "Delta_0": to_host(gap(w1)),
        },
        gap=gap,
        gradient=gradient,
        sample=lambda w, draw: gradient(w),
        vectors={"L": draws.backend.asarray(diagonal)},
        capabilities={
            "left_smoothness": lambda: left,
            "blocks": lambda: known.blocks,
            "hessian": known.hessian,
        },
    )


@dataclass(frozen=True, eq=False)
class _Blocks:
    """H_j = Q_j diag(h_j) Q_j'.

    ``values``: column j is h_j, ``(m, n)``. ``bases``: Q_1 = .. = Q_n, ``(m, m)``, or all, ``(n, m, m)``; None for the identity.
    """

    values: Floats
    bases: Floats | None

    @property
    def commute(self) -> bool:
        return self.bases is None or self.bases.ndim == 2

    @property
    def blocks(self) -> Floats:
        """``(n, m, m)``."""
        q = np.eye(len(self.values)) if self.bases is None else self.bases
        return np.asarray((q * self.values.T[:, None, :]) @ np.swapaxes(q, -1, -2))

    def hessian(self) -> Floats:
        """``(mn, mn)`` in C order: entry (i, j) of W has index i n + j."""
        (m, n), h = self.values.shape, np.zeros((*self.values.shape, *self.values.shape))
        columns = np.arange(n)
        h[:, columns, :, columns] = self.blocks
        return h.reshape(m * n, m * n)

    def maps(self, draws: Draws) -> tuple[_Map, _Map]:
        """w -> y and back, y_j = Q_j' w_j, for batches."""
        if self.bases is None:
            return _Map(None, draws), _Map(None, draws)
        return _Map(np.swapaxes(self.bases, -1, -2), draws), _Map(self.bases, draws)


class _Map:
    """Columns of a batch times one matrix, or each times its own."""

    def __init__(self, q: Floats | None, draws: Draws) -> None:
        self.xp = draws.backend.xp
        self.q = None if q is None else draws.backend.asarray(np.ascontiguousarray(q))

    def __call__(self, w: Array) -> Array:
        if self.q is None:
            return w
        if self.q.ndim == 2:
            return self.q @ w
        return self.xp.matrix_transpose((self.q @ self.xp.matrix_transpose(w)[:, :, :, None])[:, :, :, 0])


def _left(known: _Blocks, smoothness: str) -> Floats:
    if smoothness == "sum":
        return np.asarray(known.blocks.sum(axis=0))
    if smoothness == "sdp":
        return least_trace(known.blocks)
    if not known.commute:
        raise TheorysimError("smoothness='max' needs blocks that commute, and these do not; take smoothness='sum' or 'sdp'")
    return np.asarray(_Blocks(known.values.max(axis=1, keepdims=True), known.bases).blocks[0])


# ------------------------------------------------------------------------------------------------ where the blocks come from
def _drawn(kind: str, a: Floats, n: int, low: float, basis: Floats | None, draws: Draws) -> _Blocks:
    if one_of("blocks", kind, ("commuting", "generic", "ramp")) == "ramp":
        return _Blocks(a[:, None] * np.arange(1, n + 1) / n, basis)
    if non_negative("low", low) > 1:
        raise TheorysimError(f"low={low} is not allowed: the factors are drawn between low and 1; give at most 1")
    host, m = replace(draws, backend=CPU), len(a)
    values = a[:, None] * (low + (1 - low) * host.shared_uniform(Stream.INSTANCE, _FACTORS, (m, n)))
    if kind == "commuting":
        return _Blocks(values, basis)
    q, r = np.linalg.qr(host.shared_normal(Stream.INSTANCE, _BASES, (n, m, m)))
    bases = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
    return _Blocks(values, bases if basis is None else basis @ bases)


def _given(blocks: Sequence[Sequence[Sequence[float]]], m: int, n: int) -> Floats:
    """A user's list as n symmetric positive semidefinite matrices; TheorysimError where it is none."""
    rows = [row for block in blocks if isinstance(block, Sequence) and len(block) == m for row in block]
    if len(blocks) != n or len(rows) != n * m or any(not isinstance(row, Sequence) or len(row) != m for row in rows):
        raise TheorysimError(f"blocks must be {n} matrices of {m} rows of {m} numbers for m={m}, n={n}, or a word")
    h: Floats = np.array([[finite("an entry of blocks", value) for value in row] for row in rows]).reshape(n, m, m)
    size = np.abs(h).max()
    uneven, least = np.abs(h - np.swapaxes(h, 1, 2)).max(), np.linalg.eigvalsh(h).min()
    if size == 0 or uneven > _ROUNDING * size or least < -_ROUNDING * m * size:
        raise TheorysimError("blocks must be symmetric, positive semidefinite to 1e-12 and not all zero; give such matrices")
    return np.asarray((h + np.swapaxes(h, 1, 2)) / 2)


def _decomposed(h: Floats) -> _Blocks:
    """With one basis where the blocks commute: the eigenvectors of a generic combination of them."""
    n, m, _ = h.shape
    q = np.linalg.eigh(np.tensordot(np.sqrt(np.arange(2, n + 2.0)), h, 1))[1]
    turned = q.T @ h @ q
    values = np.diagonal(turned, axis1=1, axis2=2)
    if np.abs(turned - values[:, :, None] * np.eye(m)).max() <= _ROUNDING * m * np.abs(h).max():
        return _Blocks(np.maximum(values, 0.0).T, q)
    each, bases = np.linalg.eigh(h)
    return _Blocks(np.maximum(each, 0.0).T, bases)
