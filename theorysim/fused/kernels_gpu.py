"""Kernels of programs on a GPU, through CuPy: nothing here waits for the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from theorysim.backend import Backend
from theorysim.fused.cuda_source import NAME, lanes, source
from theorysim.fused.program import Program
from theorysim.noise_gpu import LANES

_THREADS = 64  # a block: few, so that a small problem is spread over all multiprocessors


def is_ready(program: Program) -> bool:
    """Always: NVRTC takes a part of a second, CuPy keeps what it made, and step by step a GPU waits for the host."""
    return True


def launch(
    backend: Backend,
    program: Program,
    numbers: tuple[int, int, Any, Any],
    where: tuple[Any, int],
    arrays: Sequence[Any],
) -> None:
    """Do the steps: ``numbers`` are the first step, the number of steps, scalars and rows; ``where``: run numbers and seed."""
    first, steps, scalars, rows = numbers
    runs, seed = where
    count, size = arrays[0].shape
    threads = count * (size if lanes(program) == 1 else -(-size // (4 * LANES)) * LANES)
    if threads == 0:  # CUDA refuses an empty grid
        return
    fixed = (count, size, len(runs), steps, first, seed & 0xFFFFFFFF, seed >> 32, runs, scalars, rows)
    in_order = (backend.xp.ascontiguousarray(each) for each in arrays)  # of the results, which are new, it makes no copies
    kernel = backend.kernel(source(program), NAME)
    kernel((-(-threads // _THREADS),), (_THREADS,), (*fixed, *in_order))
