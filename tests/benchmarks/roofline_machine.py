"""What the machine can do at best: copies through memory, and square roots and divisions of numbers that stay in the cache."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
_IN_CACHE = 1024  # numbers for each core: 8 KB, in the first level of any cache
_REPEATS = 20_000

# A division by 0 is inf: an exception would keep the loop from being vectorised.
_fast = {"error_model": "numpy", "fastmath": False}


@numba.njit(parallel=True, **_fast)
def _copy(a: Values, b: Values) -> None:
    for i in numba.prange(len(a)):
        b[i] = a[i]


@numba.njit(parallel=True, **_fast)
def _roots(x: Values, repeats: int) -> None:
    for row in numba.prange(len(x)):
        mine = x[row]
        for _ in range(repeats):
            for j in range(len(mine)):
                mine[j] = math.sqrt(mine[j])


@numba.njit(parallel=True, **_fast)
def _divisions(x: Values, repeats: int) -> None:
    for row in numba.prange(len(x)):
        mine = x[row]
        for _ in range(repeats):
            for j in range(len(mine)):
                mine[j] = 3.0 / mine[j]


@numba.njit(parallel=True, **_fast)
def _both(x: Values, repeats: int) -> None:
    for row in numba.prange(len(x)):
        mine = x[row]
        for _ in range(repeats):
            for j in range(len(mine)):
                mine[j] = 3.0 / math.sqrt(mine[j])


@numba.njit(parallel=True, **_fast)
def _both_scalar(x: Values, repeats: int) -> None:
    """No number is below 0, but a loop that may end at any of them goes one by one."""
    for row in numba.prange(len(x)):
        mine = x[row]
        for _ in range(repeats):
            for j in range(len(mine)):
                if mine[j] < 0.0:
                    break
                mine[j] = 3.0 / math.sqrt(mine[j])


KERNELS = {"sqrt": _roots, "divide": _divisions, "sqrt and divide": _both, "the same, scalar": _both_scalar}


def bandwidth(megabytes: int = 400, rounds: int = 5) -> float:
    """Bytes per second of a copy by all cores: those read and those written, at its best."""
    a = np.ones(megabytes * 2**20 // 16)
    b = np.empty_like(a)
    _copy(a, b)
    return 16 * len(a) / min(seconds(lambda: _copy(a, b)) for _ in range(rounds))


def arithmetic(kind: str, repeats: int = _REPEATS) -> tuple[Callable[[], None], int]:
    """A compiled function that applies ``kind`` of KERNELS by all cores to numbers in the cache, and how many it applies."""
    x = np.linspace(1.0, 2.0, numba.get_num_threads() * _IN_CACHE).reshape(-1, _IN_CACHE)
    KERNELS[kind](x, 1)
    return lambda: KERNELS[kind](x, repeats), x.size * repeats


def seconds(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
