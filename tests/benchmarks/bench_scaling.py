"""Does the cost grow like runs x steps x coordinates, from a million to ten thousand million of them? And not the memory?

Run it with ``python -m pytest -s tests/benchmarks/bench_scaling.py`` on an idle machine, or as a script; ``--quick`` stops at a
hundred million. Without noise, where the rest of the work is least hidden; with it up to 1e9. The kernel is compiled before: a
small experiment alone is not worth that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from speed_experiments import SIGMA, Experiment, gaps
from speed_measure import seconds

LOW, HIGH, NOISY_HIGH = 6, 10, 9  # powers of ten
WITHIN = 0.05
STATE = 8 * 24  # bytes for each coordinate of each run, generously: the largest states have to fit into the free memory


@dataclass(frozen=True)
class Direction:
    """``at(factor)``: the experiment with ``factor`` times the smallest value along one direction, a million updates at 1."""

    name: str
    at: Callable[[int, float], Experiment]


DIRECTIONS = (
    Direction("runs", lambda factor, sigma: Experiment("adagrad", sigma, 10 * factor, 100, 1000)),
    Direction("steps", lambda factor, sigma: Experiment("adagrad", sigma, 10, 1000, 100 * factor)),
    Direction("coordinates", lambda factor, sigma: Experiment("adagrad", sigma, 10, 100 * factor, 1000)),
)


def free_memory() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def costs(direction: Direction, sigma: float, high: float) -> tuple[list[float], list[float]]:
    """Updates, and the seconds they take beyond those of the smallest call; the least of some calls, where they are short."""
    nothing = Experiment("adagrad", sigma, 1, 10, 1)
    gaps(nothing)
    gaps(direction.at(50, sigma))
    overhead = min(seconds(lambda: gaps(nothing)) for _ in range(9))
    updates, times = [], []
    for power in np.arange(LOW, high + 0.1, 0.5):
        each = direction.at(round(10 ** (power - LOW)), sigma)
        if STATE * each.runs * each.dim > free_memory():
            break
        took = min(seconds(lambda each=each: gaps(each)) for _ in range(9 if power < 7.9 else 3 if power < 9 else 1))
        updates.append(float(each.updates))
        times.append(took - overhead)
        per = 1e9 * took / each.updates
        print(f"{direction.name:12} noise {sigma:g} {each.updates:10.1e} updates {took:9.4f} s {per:7.2f} ns each", flush=True)
    return updates, times


def exponent(updates: list[float], times: list[float]) -> float:
    return float(np.polyfit(np.log(updates), np.log(times), 1)[0])


@pytest.mark.parametrize("direction", DIRECTIONS, ids=lambda direction: direction.name)
@pytest.mark.parametrize(("sigma", "high"), [(0.0, HIGH), (SIGMA, NOISY_HIGH)], ids=["free", "noisy"])
def test_the_cost_is_proportional_to_the_work(direction: Direction, sigma: float, high: int) -> None:
    print()
    found = exponent(*costs(direction, sigma, high))
    print(f"{direction.name}: exponent {found:.3f}")
    assert abs(found - 1) <= WITHIN


# ------------------------------------------------------------------------------------------------ memory
# The peak that getrusage tells of a new process starts with the size of its parent, VmHWM does not.
SCRIPT = """
import re, sys
sys.path.insert(0, {folder!r})
from speed_experiments import Experiment, gaps
gaps(Experiment("adagrad", {sigma}, 8, 20000, {steps}))
print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""


def peak(steps: int, sigma: float) -> int:
    """The largest resident memory of a process of its own, in kilobytes; on Linux only."""
    source = SCRIPT.format(folder=os.path.dirname(__file__), sigma=sigma, steps=steps)
    done = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("sigma", [0.0, SIGMA], ids=["free", "noisy"])
@pytest.mark.parametrize("steps", [(10, 40, 200), (300, 1000, 3000)], ids=["one by one", "by kernels"])
def test_the_memory_does_not_grow_with_the_steps(steps: tuple[int, ...], sigma: float) -> None:
    peak(steps[0], sigma)  # what is compiled now is read from the cache by the others
    found = [peak(number, sigma) for number in steps]
    print("\n" + ", ".join(f"{number} steps {kilobytes / 1024:.0f} MB" for number, kilobytes in zip(steps, found, strict=True)))
    assert max(found) <= 1.05 * min(found)


if __name__ == "__main__":
    for which in DIRECTIONS:
        print(f"exponent {exponent(*costs(which, 0.0, 8.5 if '--quick' in sys.argv else HIGH)):.3f}")
