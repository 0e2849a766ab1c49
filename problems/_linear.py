"""Products with a matrix that do not depend on the batch."""

from __future__ import annotations

import array_api_compat

from theorysim.backend import namespace
from theorysim.model import Array

_BLOCK = 8


def times(x: Array, matrix: Array) -> Array:
    """``x @ matrix``, (rows, m) times (m, n), each row computed alike whatever batch it stands in.

    A linear algebra library chooses its order of summation by the number of rows, so a run would differ in the last bits
    from the same run in a larger batch. Here stacks of equally many rows are multiplied, the last one filled up with zeros.
    """
    xp = namespace(x)
    rows, width = x.shape
    filling = xp.zeros((-rows % _BLOCK, width), dtype=x.dtype, device=array_api_compat.device(x))
    stacks = xp.reshape(xp.concat([x, filling]), (-1, _BLOCK, width))
    return xp.reshape(stacks @ matrix, (-1, matrix.shape[1]))[:rows, ...]
