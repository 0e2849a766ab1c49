"""Diagonal matrices above symmetric ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def row_sums(blocks: Floats, largest: Floats | float) -> Floats:
    """l_j with diag(l_j) >= H_j for positive semidefinite H_j, ``(blocks, m, m) -> (blocks, m)``.

    ``largest``: the largest eigenvalue of each, ``(blocks,)``, or of all. The sums of the rows' absolute values, or that
    eigenvalue in every place, whichever has the smaller sum.
    """
    rows = np.abs(blocks).sum(axis=2)
    flat = np.broadcast_to(np.reshape(largest, (-1, 1)), rows.shape)
    return np.where((rows.sum(axis=1) < flat.sum(axis=1))[:, None], rows, flat)
