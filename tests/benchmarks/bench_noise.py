"""Speed of noise.py against NumPy's own normals, in one run: python -m pytest -s tests/benchmarks/bench_noise.py"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from theorysim import noise_cpu
from theorysim.backend import CPU
from theorysim.model import Draw
from theorysim.noise import Draws, Stream

ROWS, SIZE = 32, 100_000


def shortest(*functions: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of the fastest call of each; the functions take turns, so that a busy machine slows them alike."""
    times = [[_seconds(function) for function in functions] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)]


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def test_normals_are_several_times_faster_than_numpy():
    draws, generator = Draws(CPU, 1, np.arange(ROWS)), np.random.Generator(np.random.PCG64(1))
    runs, values = draws.runs, np.empty((ROWS, SIZE))

    def fill(normal: bool, parallel: bool) -> Callable[[], object]:
        return lambda: noise_cpu.fill(values, runs, (1, 2, 3, 4), normal, parallel)

    labels = ["NumPy, in place", "one core", "all cores", "uniform, one core", "NumPy, new array", "Draws.normal"]
    seconds = shortest(
        lambda: generator.standard_normal(out=values),
        fill(normal=True, parallel=False),
        fill(normal=True, parallel=True),
        fill(normal=False, parallel=False),
        lambda: generator.standard_normal((ROWS, SIZE)),
        lambda: draws.normal(Stream.GRADIENT, Draw(0), (SIZE,)),
        rounds=40,
    )
    for label, value in zip(labels, seconds, strict=True):
        print(f"\n{label:18} {value / values.size * 1e9:6.2f} ns a number, {seconds[0] / value:5.2f} x NumPy", end="")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"\nratio {seconds[0] / seconds[2]:.2f} on {cores} cores")
    assert seconds[0] / seconds[2] > (4 if cores > 1 else 2.5)
    assert seconds[4] / seconds[5] > (4 if cores > 1 else 2.5)


def test_small_calls_cost_microseconds():
    for rows, size in ((1, 1), (64, 1), (64, 64), (64, 100), (4, 1000)):
        draws = Draws(CPU, 1, np.arange(rows))
        (seconds,) = shortest(lambda draws=draws, size=size: draws.normal(Stream.GRADIENT, Draw(0), (size,)), rounds=2000)
        print(f"\n{rows} x {size}: {seconds * 1e6:.1f} microseconds", end="")
        assert seconds < 100e-6


SCRIPT = """
import time, numpy as np
from theorysim.backend import CPU
from theorysim.model import Draw
from theorysim.noise import Draws, Stream
import numba
start = time.process_time()
for size in (10, 10**6):
    Draws(CPU, 0, np.arange(2)).normal(Stream.GRADIENT, Draw(0), (size,))
seconds = time.process_time() - start
from theorysim import noise_cpu
kernels = noise_cpu._fill_units, noise_cpu._fill_parallel
print(seconds, sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels))
"""


def test_compiling_is_short_and_happens_once(tmp_path: Path):
    results = []
    for _ in range(2):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, capture_output=True, text=True)
        results.append([float(word) for word in done.stdout.split()])
    (cold, _), (warm, misses) = results
    print(f"\nfirst process {cold:.2f} s of one core, second {warm:.2f} s")
    assert cold < 10
    assert misses == 0 and warm < 1
