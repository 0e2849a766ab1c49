"""Diagonal matrices above symmetric ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def row_sums(blocks: Floats) -> Floats:
    """l_j with diag(l_j) >= H_j for positive semidefinite H_j, ``(blocks, m, m) -> (blocks, m)``.

    The sums of the rows' absolute values, or the largest eigenvalue in every place, whichever has the smaller sum.
    """
    rows = np.abs(blocks).sum(axis=2)
    flat = np.broadcast_to(np.linalg.eigvalsh(blocks)[:, -1:], rows.shape)
    return np.where((rows.sum(axis=1) < flat.sum(axis=1))[:, None], rows, flat)
