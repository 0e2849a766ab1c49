"""What workers are worth, and what they cost: four against one, a tiny cell, and many tiny cells.

Run it with ``python -m pytest -s tests/benchmarks/bench_cluster.py`` on a machine that does nothing else.
``THEORYSIM_BENCH_CELLS`` (default 10000): how many tiny cells at most.
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import replace

from theorysim.backend import CPU, cores
from theorysim.cluster import workers
from theorysim.executors import Executor
from theorysim.lab import Lab, compute
from theorysim.model import Cell
from theorysim.registry import algorithm, problem

ROUNDS, CELLS, SECONDS = 3, 100, 0.2
MANY = int(os.environ.get("THEORYSIM_BENCH_CELLS", "10000"))


def descents(count: int, steps: int, dim: int = 20) -> list[Cell]:
    """Different cells, so that none is the other's."""
    instance = problem("anisotropic_quadratic", dim=dim)
    return [Cell(instance, algorithm("gradient_descent", lr=0.1 + 1e-6 * k), steps, record="last") for k in range(count)]


def seconds(executor: Executor, cells: list[Cell]) -> float:
    begin = time.perf_counter()
    Lab(executor=executor).run_all(cells)
    return time.perf_counter() - begin


def enough_steps() -> int:
    """Steps that take a cell about SECONDS."""
    steps, taken = 1000, 0.0
    cell = descents(1, steps)[0]
    compute(cell, CPU)  # compiles what there is to compile
    while taken < SECONDS / 4:
        steps *= 2
        begin = time.perf_counter()
        compute(replace(cell, steps=steps), CPU)
        taken = time.perf_counter() - begin
    return int(steps * SECONDS / taken)


def test_four_workers_are_almost_as_many_times_faster_as_there_are_cores_for_them() -> None:
    cells = descents(CELLS, enough_steps())
    ratios = []
    with workers(jobs=1) as one, workers(jobs=4) as four:
        for executor in (one, four):
            seconds(executor, cells[:8])  # imports and compiles
        for _ in range(ROUNDS):
            ratios.append(seconds(one, cells) / seconds(four, cells))
    expected = 0.85 * min(4, cores())
    middle = statistics.median(ratios)
    print(f"\n4 workers against 1, {CELLS} cells of {SECONDS} s, {cores()} cores: {middle:.2f} times as fast", end="")
    print(f" ({min(ratios):.2f} to {max(ratios):.2f} in {ROUNDS} rounds)")
    assert middle >= expected


def test_a_tiny_cell_costs_less_than_20_ms_however_many_there_are() -> None:
    with workers(jobs=2) as executor:
        seconds(executor, descents(20, 1))
        costs = {count: 1e3 * seconds(executor, descents(count, 1)) / count for count in (MANY // 10, MANY)}
    print("\nms per tiny cell: " + ", ".join(f"{cost:.1f} of {count}" for count, cost in costs.items()))
    few, many = costs.values()
    assert many < 20 and many < 1.5 * few
