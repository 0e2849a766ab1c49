"""Is the Hessian of a function of a matrix nearly block-diagonal, with one block for every column, or for every row?"""

from __future__ import annotations

from typing import Any, NamedTuple

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from theorysim.analyses.band import band
from theorysim.backend import namespace, to_host
from theorysim.findings import Finding, Panel, Series, together
from theorysim.model import Array, Problem, TheorysimError
from theorysim.registry import register_analysis
from theorysim.validation import one_of

Floats = NDArray[np.float64]

_STEP = 6e-6  # the cube root of the rounding unit: truncation and rounding of a central difference are alike
_SYMMETRY = 1e-6
_SHOWN = 400  # blocks of a figure


@register_analysis
def block_structure(
    problem: Problem,
    point: Array,
    *,
    blocks: str = "columns",
    low: float = 2.0,
    turn: Floats | None = None,
    label: str,
) -> Finding:
    """VIOLATED if the share of the Hessian's squared entries inside its diagonal blocks is below ``low`` times that of chance.

    The Hessian at ``point`` (m, n) is taken by central differences of the gradient. ``blocks``: ``"columns"``, n blocks of size m
    (then I (x) L can be close to it), or ``"rows"``. Chance is the mean over all rotations of the mn coordinates, for the same
    eigenvalues: see BlockShares. ``turn``: an orthogonal (mn, mn) matrix; the Hessian is looked at in these coordinates, where
    blocks have no meaning. Also VIOLATED if the differences are not symmetric to 1e-6, so that they are no Hessian.
    ``details`` of the first part hold all shares. Raises TheorysimError where the iterates are no matrices.
    """
    if len(problem.shape) != 2:
        raise TheorysimError(f"blocks of columns or rows need iterates that are matrices, not of shape {problem.shape}")
    hessian = measured_hessian(problem, point)
    lopsided = float(np.linalg.norm(hessian - hessian.T) / np.linalg.norm(hessian))
    hessian = (hessian + hessian.T) / 2
    if turn is not None:
        hessian = turn @ hessian @ turn.T
    found = block_shares(hessian, problem.shape, blocks)
    part = band(
        found.share / found.rotated,
        low,
        label=f"{label}: share of the Hessian in blocks of {blocks} / that of chance",
        predicted=1 / found.rotated,
        panels=(_panel(hessian, problem.shape, blocks, label),),
        details=found._asdict(),
    )
    symmetric = band(lopsided, 0.0, _SYMMETRY, label=f"{label}: asymmetry of the measured Hessian")
    return together(part, symmetric, label=label, panels=part.panels)


class BlockShares(NamedTuple):
    """What part of a Hessian lies inside its diagonal blocks.

    ``share``: of the squared entries. ``absolute``: of the absolute entries. ``even``: what ``share`` would be if all entries
    were alike: the size of a block over the number of coordinates. ``rotated``: the mean of ``share`` over all rotations of
    the coordinates. A Hessian that is nearly a multiple of the identity is block-diagonal in all coordinates, so this, and not
    ``even``, is what chance brings: with r = (tr(H)^2 / ‖H‖_F^2 + 2) / (d + 2) the mean share of the diagonal itself, it is
    r + (1 - r)(b - 1)/(d - 1) for blocks of size b in d coordinates.
    """

    share: float
    absolute: float
    even: float
    rotated: float


def block_shares(hessian: Floats, shape: tuple[int, ...], blocks: str) -> BlockShares:
    """The shares of a symmetric ``hessian`` (mn, mn) in C order of the entries of an m x n matrix."""
    sizes = _by_block(np.abs(hessian), shape, blocks)
    squares = _by_block(hessian**2, shape, blocks)
    d, b = len(hessian), len(hessian) // len(squares)
    total = float(squares.sum())
    diagonal = (float(np.trace(hessian)) ** 2 / total + 2) / (d + 2)
    return BlockShares(
        share=float(np.trace(squares)) / total,
        absolute=float(np.trace(sizes) / sizes.sum()),
        even=b / d,
        rotated=diagonal + (1 - diagonal) * (b - 1) / max(d - 1, 1),
    )


def measured_hessian(problem: Problem, point: Array) -> Floats:
    """Row j is (grad f(W + h e_j) - grad f(W - h e_j))/(2h) at W = ``point``, (mn, mn), not made symmetric; on the host.

    Pairs of perturbed points fill the rows of the batch that ``problem`` was built for, so build it with many runs.
    """
    centre, rows = to_host(point).astype(np.float64), problem.start.shape[0]
    if centre.shape != tuple(problem.shape):
        raise TheorysimError(f"the point has shape {centre.shape}, but an iterate of this problem has {tuple(problem.shape)}")
    if rows < 2:
        raise TheorysimError("a Hessian by differences needs a problem built for at least 2 runs; build it with runs=64 or so")
    step, d = _STEP * max(1.0, float(np.abs(centre).max())), centre.size
    hessian = np.empty((d, d))
    for begin in range(0, d, rows // 2):
        chosen = np.arange(begin, min(d, begin + rows // 2))
        moved = np.tile(centre.ravel(), (rows, 1))
        ahead, behind = np.arange(len(chosen)), len(chosen) + np.arange(len(chosen))
        moved[ahead, chosen] += step
        moved[behind, chosen] -= step
        slopes = _gradient(problem, moved)
        width = moved[ahead, chosen] - moved[behind, chosen]  # the step that was taken, to the last bit
        hessian[chosen] = (slopes[ahead] - slopes[behind]) / width[:, None]
    return hessian


def _gradient(problem: Problem, points: Floats) -> Floats:
    xp, device = namespace(problem.start), array_api_compat.device(problem.start)
    placed = xp.asarray(points.reshape(-1, *problem.shape), device=device)
    return to_host(problem.gradient(placed)).reshape(points.shape)


def _by_block(table: Floats, shape: tuple[int, ...], blocks: str) -> Floats:
    """Sums of ``table`` (mn, mn) over its blocks: (n, n) for columns, (m, m) for rows."""
    four = table.reshape(*shape, *shape)
    axes = (0, 2) if one_of("blocks", blocks, ("columns", "rows")) == "columns" else (1, 3)
    return np.asarray(four.sum(axis=axes))


def _panel(hessian: Floats, shape: tuple[int, ...], blocks: str, label: str) -> Panel:
    """The root of the mean square of every block's entries, the largest first: diagonal blocks against the others."""
    squares = _by_block(hessian**2, shape, blocks)
    sizes = np.sqrt(squares / (len(hessian) / len(squares)) ** 2)
    inside = np.eye(len(sizes), dtype=bool)
    series = tuple(_series(name, sizes[chosen]) for name, chosen in (("diagonal blocks", inside), ("others", ~inside)))
    return Panel(f"{label}: blocks of {blocks}", "block, the largest first", "root mean square entry", series)


def _series(name: str, sizes: NDArray[Any]) -> Series:
    """At most 400 points, evenly spaced in rank; a block that is exactly zero is no point of a logarithmic axis."""
    ordered = np.sort(sizes[sizes > 0])[::-1]
    ranks = np.unique(np.linspace(1, max(len(ordered), 1), _SHOWN).astype(int))[: len(ordered)]
    return Series(name, tuple(ranks.astype(float)), tuple(ordered[ranks - 1]))
