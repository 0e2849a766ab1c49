"""The semidefinite program behind a matrix smoothness of least trace: the only problem that needs cvxpy."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.model import TheorysimError

Floats = NDArray[np.float64]

LARGEST = 16  # rows of a block: some seconds; the time grows like the sixth power
_PACKAGES = ("cvxpy", "clarabel")
_ROUNDING = 8 * np.finfo(float).eps


def least_trace(blocks: Floats) -> Floats:
    """The L of least trace with L >= H_j for all j, ``(blocks, m, m) -> (m, m)``, to the solver's accuracy (about 1e-8).

    Where the solver's L is below some H_j by its rounding, a multiple of the identity is added, so that L >= H_j does hold.
    Raises TheorysimError for more than 16 rows, without theorysim[pep], and where the solver does not report an optimum.
    """
    m = blocks.shape[1]
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise TheorysimError(
            f"smoothness='sdp' needs {', '.join(missing)}; run pip install \"theorysim[pep]\" or take smoothness='sum'"
        )
    if m > LARGEST:
        raise TheorysimError(f"smoothness='sdp' is for m of at most {LARGEST}, not m={m}; take smoothness='sum'")
    size = float(np.linalg.eigvalsh(blocks)[:, -1].max())
    return size * _lifted(_solved(blocks / size), blocks / size) if size > 0 else np.zeros((m, m))


def _solved(blocks: Floats) -> Floats:
    import cvxpy as package

    cvxpy: Any = package  # it ships types for a part of itself only
    left = cvxpy.Variable(blocks.shape[1:], symmetric=True)
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.trace(left)), [left >> block for block in blocks])
    try:
        program.solve(solver=cvxpy.CLARABEL)
    except cvxpy.error.SolverError as error:
        raise TheorysimError(f"smoothness='sdp': the solver failed ({error}); take smoothness='sum'") from error
    if program.status not in ("optimal", "optimal_inaccurate"):
        raise TheorysimError(f"smoothness='sdp': the solver reports {program.status}, no optimum; take smoothness='sum'")
    solution = np.asarray(left.value)
    return np.asarray((solution + solution.T) / 2)


def _lifted(left: Floats, blocks: Floats) -> Floats:
    """``left`` plus the least multiple of the identity that puts it above every block, rounding included."""
    below = float(np.linalg.eigvalsh(left - blocks)[:, 0].min())
    return left + (max(-below, 0.0) + _ROUNDING * len(left)) * np.eye(len(left))
