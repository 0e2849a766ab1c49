"""Too little memory: smaller chunks, the same numbers, nothing done twice, and a clear word where one run is too much."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from test_run import same

from theorysim.backend import CPU, Backend
from theorysim.model import Array, Cell, TheorysimError
from theorysim.registry import algorithm, problem
from theorysim.run import run_cell

loop = sys.modules["theorysim.run"]
DIM, VARIANTS = 12, 2
NOISY = problem("anisotropic_quadratic", dim=DIM, start="uniform", noise=0.3)
CELL = Cell(NOISY, algorithm("adagrad", lr=[0.1, 0.4]), 20, 11, ("gap", "distance:inf"), "log", seed=3)


@dataclass(frozen=True)
class Small(Backend):
    """A device with room for arrays of so many numbers: ``room`` at first, ``later`` after so many allocations."""

    name: str = "cpu"
    xp: Any = CPU.xp
    room: int = 0
    later: tuple[int, int] | None = None
    sizes: list[int] = field(default_factory=list, hash=False)
    released: list[int] = field(default_factory=list, hash=False)

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        self.sizes.append(np.size(values))
        room = self.later[1] if self.later and len(self.sizes) > self.later[0] else self.room
        if np.size(values) > room:
            raise MemoryError(f"no room for {np.size(values)} numbers")
        return super().asarray(values, dtype)

    def release_memory(self) -> None:
        self.released.append(len(self.sizes))


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], bool]]:
    """The runs of every chunk that was begun, and whether it came to its end."""
    seen: list[tuple[list[int], bool]] = []
    original = loop._run_chunk

    def watched(cell: Cell, backend: Backend, runs: Any, trusted: Any) -> Any:
        seen.append((runs.tolist(), False))
        piece = original(cell, backend, runs, trusted)
        seen[-1] = (runs.tolist(), True)
        return piece

    monkeypatch.setattr(loop, "_run_chunk", watched)
    return seen


def finished(chunks: list[tuple[list[int], bool]]) -> list[int]:
    return [run for runs, done in chunks for run in runs if done]


@pytest.mark.parametrize(("fit", "sizes"), [(11, [11]), (6, [11, 6, 5]), (4, [11, 6, 3, 3, 3, 2]), (1, [11, 6, 3, 2, *[1] * 11])])
def test_smaller_chunks_give_the_same_bits(fit: int, sizes: list[int], chunks: list[tuple[list[int], bool]]) -> None:
    device = Small(room=fit * DIM)  # random numbers are drawn once for all variants
    trace = run_cell(CELL, device, chunk=CELL.runs)
    assert [len(runs) for runs, _ in chunks] == sizes
    assert finished(chunks) == list(range(11))
    assert len(device.released) == sum(not done for _, done in chunks)
    same(trace, run_cell(CELL, CPU))


def test_what_is_finished_is_not_done_again_when_memory_becomes_scarce(chunks: list[tuple[list[int], bool]]) -> None:
    whole = Small(room=8 * DIM)
    run_cell(CELL, whole, chunk=4)
    one_chunk = len(whole.sizes) // 3
    chunks.clear()
    device = Small(room=8 * DIM, later=(one_chunk + 9, 2 * DIM))  # while the second chunk is at its work
    trace = run_cell(CELL, device, chunk=4)
    assert [(len(runs), done) for runs, done in chunks] == [(4, True), (4, False), *[(2, True)] * 3, (1, True)]
    assert finished(chunks) == list(range(11))
    same(trace, run_cell(CELL, CPU))


@pytest.mark.parametrize(("chunk", "sizes"), [(None, [1]), (11, [11, 6, 3, 2, 1])])  # None: the trial build fails already
def test_one_run_that_does_not_fit_is_an_error_that_says_so(
    chunk: int | None, sizes: list[int], chunks: list[tuple[list[int], bool]]
) -> None:
    with pytest.raises(
        TheorysimError, match="one run of adagrad.* on anisotropic_quadratic.* does not fit into the memory of cpu"
    ):
        run_cell(CELL, Small(room=DIM - 1), chunk)
    assert [len(runs) for runs, _ in chunks] == sizes and not finished(chunks)


def test_other_errors_come_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_run_chunk", lambda *_: (_ for _ in ()).throw(OSError("mine")))
    with pytest.raises(OSError, match="mine"):
        run_cell(CELL, CPU)
