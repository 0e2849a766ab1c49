"""Counter-based random numbers: a number is a pure function of (seed, stream, run, step, call, coordinate).

So it does not matter in which batch, chunk, order, process or device a number is drawn, and a longer vector starts with the
shorter one. The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC'11):

    key      the low and the high 32 bits of the seed
    counter  (block, step, run, stream + 16 call)

gives four 32-bit words w. Coordinates are counted in C order. Coordinate 64 i + 16 lane + k (lane < 4, k < 16) belongs to
word ``lane`` of block 16 i + k: the words of neighbouring blocks stand side by side, which suits vector units.

    uniform  u = (w + 1/2) / 2**32, so 0 < u < 1
    normal   Box-Muller on the words (0, 1) and (2, 3):  sqrt(-2 ln u_0) times cos and sin of 2 pi (u_1 - 1/8)
    integer  floor(high u)

Resolution: u takes 2**32 values. Hence |normal| <= sqrt(2 ln 2**33) = 6.764 (a true normal passes that once in 7e10 draws),
and an integer has its probability 1/high to within 2**-32. The arithmetic is float64 and accurate to some 1e-15.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from theorysim.backend import Backend
from theorysim.model import Array, Draw, TheorysimError


class Stream(enum.IntEnum):
    """What the numbers are for: different purposes never share a number. At most 16 of them."""

    GRADIENT = 0  # stochastic gradients
    START = 1  # starting points
    INSTANCE = 2  # the problem itself
    BATCH = 3  # indices of minibatches


SHARED = 2**32 - 1  # the run number of what all runs of a batch share, such as the instance itself


@dataclass(frozen=True, eq=False)
class Draws:
    """Random numbers for the rows of one batch, on one device.

    ``seed``: from 0 to 2**64 - 1. ``runs``: (rows,) run number of each row, from 0 to 2**32 - 2; rows of the same run get the
    same numbers (common random numbers for variants of a hyper-parameter). Raises TheorysimError outside these limits.

    Every method takes the ``stream``, the ``draw`` (step below 2**32, call below 2**28) and the ``shape`` of one row (at most
    2**34 coordinates), and raises TheorysimError outside these limits.
    """

    backend: Backend
    seed: int
    runs: np.ndarray[Any, Any]

    def __post_init__(self) -> None:
        _require("the seed", self.seed, 0, 2**64 - 1)
        runs = np.asarray(self.runs)
        if runs.ndim != 1 or (runs.size and runs.dtype.kind not in "iu"):
            raise TheorysimError(f"runs must be a vector of run numbers, one per row; got {runs.dtype} of shape {runs.shape}")
        if runs.size:
            _require("a run number", int(runs.min()), 0, SHARED - 1)
            _require("a run number", int(runs.max()), 0, SHARED - 1)
        object.__setattr__(self, "seed", int(self.seed))
        object.__setattr__(self, "runs", runs.astype(np.uint32))

    def normal(self, stream: Stream, draw: Draw, shape: tuple[int, ...]) -> Array:
        """Standard normals, (rows, *shape) float64."""
        return self._rows(stream, draw, shape, normal=True)

    def uniform(self, stream: Stream, draw: Draw, shape: tuple[int, ...]) -> Array:
        """Uniform numbers in the open interval (0, 1), (rows, *shape) float64."""
        return self._rows(stream, draw, shape, normal=False)

    def integers(self, stream: Stream, draw: Draw, shape: tuple[int, ...], high: int) -> Array:
        """Integers from 0 to high - 1, (rows, *shape) int64; 1 <= high <= 2**32, each as likely as any to within 2**-32."""
        _require("the number of integers to choose from", high, 1, 2**32)
        xp = self.backend.xp
        return xp.astype(xp.floor(self.uniform(stream, draw, shape) * float(high)), xp.int64)

    def shared_normal(self, stream: Stream, draw: Draw, shape: tuple[int, ...]) -> Array:
        """Standard normals that all rows share, (*shape,) float64."""
        return self._fill(self._shared_run, stream, draw, shape, normal=True)[0, ...]

    def shared_uniform(self, stream: Stream, draw: Draw, shape: tuple[int, ...]) -> Array:
        """Uniform numbers in (0, 1) that all rows share, (*shape,) float64."""
        return self._fill(self._shared_run, stream, draw, shape, normal=False)[0, ...]

    @cached_property
    def _distinct_runs(self) -> tuple[Array, Array | None]:
        """The run numbers to draw for and, where rows repeat a run, which of them each row copies: copying is cheaper."""
        distinct, copied = np.unique(self.runs, return_inverse=True)
        if distinct.size == self.runs.size:
            return self._placed(self.runs), None
        return self._placed(distinct), self.backend.asarray(copied)

    @cached_property
    def _shared_run(self) -> Array:
        return self._placed(np.array([SHARED], np.uint32))

    def _placed(self, runs: np.ndarray[Any, Any]) -> Array:
        return self.backend.asarray(runs) if self.backend.name == "gpu" else runs

    def _rows(self, stream: Stream, draw: Draw, shape: tuple[int, ...], normal: bool) -> Array:
        if hasattr(draw.step, "random"):
            return draw.step.random(stream, draw, shape, normal)
        runs, copied = self._distinct_runs
        values = self._fill(runs, stream, draw, shape, normal)
        return values if copied is None else self.backend.xp.take(values, copied, axis=0)

    def _fill(self, runs: Array, stream: Stream, draw: Draw, shape: tuple[int, ...], normal: bool) -> Array:
        size = math.prod(shape)
        _require("the stream", stream, 0, 15)
        _require("the step", draw.step, 0, 2**32 - 1)
        _require("the call", draw.call, 0, 2**28 - 1)
        _require("the number of coordinates", size, 0, 2**34)
        where = (int(draw.step), int(stream) + 16 * int(draw.call), self.seed & 0xFFFFFFFF, self.seed >> 32)
        if self.backend.name == "gpu":
            from theorysim import noise_gpu

            on_device = self.backend.xp.empty((runs.shape[0], size), dtype=self.backend.xp.float64)
            noise_gpu.fill(self.backend, on_device, runs, where, normal)
            return self.backend.xp.reshape(on_device, (runs.shape[0], *shape))
        from theorysim import noise_cpu

        values = np.empty((runs.size, size))
        noise_cpu.fill(values, runs, where, normal)
        return self.backend.asarray(values.reshape(runs.size, *shape))


def _require(what: str, value: int, low: int, high: int) -> None:
    if not (isinstance(value, int | np.integer) and low <= value <= high):
        raise TheorysimError(f"{what} is {value!r}; allowed: whole numbers from {low} to {high}")
