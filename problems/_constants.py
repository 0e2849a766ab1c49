"""Constants that every generator names in the same way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import namespace, to_host
from theorysim.model import Array

_NORMS = {"1": 1, "2": 2, "inf": np.inf}


def norms(name: str, vector: NDArray[np.float64], *orders: str) -> dict[str, float]:
    """``{name}_{order}norm`` of a host vector, for orders among ``"1"``, ``"2"``, ``"inf"``."""
    return {f"{name}_{order}norm": float(np.linalg.norm(vector, _NORMS[order])) for order in orders}


def distances(error: Array) -> dict[str, Any]:
    """``D_inf_0`` and ``D_2_0``, the distances of w_1 from w*, per row: ``(rows, dim) -> (rows,)`` on the host."""
    xp = namespace(error)
    return {"D_inf_0": to_host(xp.max(xp.abs(error), axis=1)), "D_2_0": to_host(xp.sqrt(xp.sum(error * error, axis=1)))}
