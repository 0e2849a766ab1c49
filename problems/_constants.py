"""Constants that every generator names in the same way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import to_host
from theorysim.model import Array
from theorysim.norms import norm

_NORMS = {"1": 1, "2": 2, "inf": np.inf}


def norms(name: str, vector: NDArray[np.float64], *orders: str) -> dict[str, float]:
    """``{name}_{order}norm`` of a host vector, for orders among ``"1"``, ``"2"``, ``"inf"``."""
    return {f"{name}_{order}norm": float(np.linalg.norm(vector, _NORMS[order])) for order in orders}


def distances(error: Array) -> dict[str, Any]:
    """The distances of w_1 from w*, ``(rows, *shape)``, per row, on the host: ``D_inf_0`` (largest entry) and ``D_2_0``.

    For matrices also ``D_op_0`` (largest singular value) and ``D_row_0`` (largest 2-norm of a row).
    """
    orders = ("inf", "2") if error.ndim == 2 else ("inf", "2", "op", "row")
    return {f"D_{order}_0": to_host(norm(error, order)) for order in orders}
