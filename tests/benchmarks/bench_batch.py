"""Is the batch real? A thousand runs as one array program against the same runs one by one, in one process.

Run it with ``python -m pytest -s tests/benchmarks/bench_batch.py``.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from theorysim.backend import CPU
from theorysim.model import Cell
from theorysim.registry import algorithm, problem
from theorysim.run import run_cell

DIM, SEEDS, STEPS = 100, 64, 100
STEP_SIZES = np.geomspace(0.05, 1.0, 16).tolist()
BATCH = Cell(
    problem("anisotropic_quadratic", dim=DIM, start="signs", noise=0.1),
    algorithm("adagrad", lr=STEP_SIZES),
    STEPS,
    SEEDS,
    ("gap",),
    "log",
)
SINGLE = [replace(BATCH, algorithm=algorithm("adagrad", lr=lr)) for lr in STEP_SIZES[::8]]


def seconds(work: Any) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def test_a_run_of_a_batch_costs_a_tenth_of_a_run_alone() -> None:
    run_cell(BATCH, CPU)  # compiles the noise, loads what is loaded late
    together = min(seconds(lambda: run_cell(BATCH, CPU)) for _ in range(3)) / (len(STEP_SIZES) * SEEDS)
    alone = min(seconds(lambda cell=cell: run_cell(cell, CPU, chunk=1)) for cell in SINGLE) / SEEDS  # type: ignore[misc]
    each, one = (1e9 * cost / (STEPS * DIM) for cost in (together, alone))
    print(f"\nns per run, step and coordinate: {each:.2f} together, {one:.1f} alone, ratio {one / each:.1f}")
    assert alone >= 10 * together


def test_the_batch_is_one_array_program_with_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, rows = sys.modules["theorysim.run"], []
    original = loop._loop

    def counted(cell: Cell, built: Any, method: Any, stepper: Any) -> Any:
        rows.append(built.start.shape)
        return original(cell, built, method, stepper)

    monkeypatch.setattr(loop, "_loop", counted)
    batch = run_cell(BATCH, CPU)
    assert rows == [(SEEDS * len(STEP_SIZES), DIM)]
    alone = run_cell(SINGLE[1], CPU, chunk=1)
    assert rows[1:] == [(1, DIM)] * SEEDS
    np.testing.assert_array_equal(batch.split(batch["gap"])[8], alone["gap"])
