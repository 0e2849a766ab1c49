"""How near the machine's limits is theorysim? Its speed over that of memory, and over that of square roots and divisions.

Run it with ``python -m pytest -s tests/benchmarks/bench_roofline.py`` on an idle machine; as a script it prints the table only,
``--quick`` sees that everything runs through.
"""

from __future__ import annotations

import statistics
import sys

import numpy as np
from roofline_counts import counted
from roofline_machine import arithmetic, bandwidth, seconds
from speed_experiments import METHODS, Experiment, gaps

RUNS, DIM, STEPS = 16, 2000, 10_000  # three arrays of a run are 48 KB
ROUNDS = 7
SHARE = 0.7


def arithmetic_limits(repeats: int = 20_000, rounds: int = ROUNDS) -> dict[str, float]:
    """Nanoseconds that all cores together need for one sqrt, one division, one of both."""
    kinds = ("sqrt", "divide", "sqrt and divide", "the same, scalar")
    works = [arithmetic(kind, repeats) for kind in kinds]
    times = [[1e9 * seconds(work) / count for work, count in works] for _ in range(rounds)]
    return dict(zip(kinds, (min(column) for column in zip(*times, strict=True)), strict=True))


def shares(method: str, steps: int = STEPS, repeats: int = 20_000, rounds: int = ROUNDS) -> list[float]:
    """In alternating rounds: the least time of the square roots and divisions of an update, over the time of theorysim."""
    experiment, count = Experiment(method, 0.0, RUNS, DIM, steps), counted(method)
    both, pairs = arithmetic("sqrt and divide", repeats)
    divide, single = arithmetic("divide", repeats)
    gaps(experiment)
    found = []
    for _ in range(rounds):
        pair, lone = seconds(both) / pairs, seconds(divide) / single
        least = count.sqrt * pair + (count.divide - count.sqrt) * lone
        found.append(least / (seconds(lambda: gaps(experiment)) / experiment.updates))
    return found


def speed(experiment: Experiment, rounds: int = ROUNDS) -> float:
    """Coordinate updates per second."""
    gaps(experiment)
    return experiment.updates / statistics.median(seconds(lambda: gaps(experiment)) for _ in range(rounds))


def report(steps: int, repeats: int, rounds: int, megabytes: int) -> None:
    limits, copied = arithmetic_limits(repeats, rounds), bandwidth(megabytes)
    print(f"\ncopy by all cores: {copied / 1e9:.1f} GB/s read and written; in the cache, ns: ", end="")
    print(", ".join(f"{kind} {value:.2f}" for kind, value in limits.items()))
    print("method       sqrt divide others bytes |  M updates/s  bytes/copy  share of sqrt and divide")
    for method in METHODS:
        work = counted(method)
        rate = speed(Experiment(method, 0.0, RUNS, DIM, steps), rounds)
        least = work.sqrt * limits["sqrt and divide"] + (work.divide - work.sqrt) * limits["divide"]
        share = f"{1e-9 * rate * least:24.2f}" if work.sqrt else f"{'-':>24}"
        counts = f"{method:12} {work.sqrt:4} {work.divide:6} {work.others:6} {work.bytes:5}"
        print(f"{counts} | {rate / 1e6:12.0f} {rate * work.bytes / copied:11.2f}  {share}")


def test_the_counts_are_those_of_the_formulas() -> None:
    """AdaGrad: x - w*, h e, g g, v + g g, + eps, a comparison, lr g, x - ... beside a root and a division."""
    work = counted("adagrad")
    assert (work.sqrt, work.divide, work.others, work.bytes) == (1, 1, 8, 40)
    assert (counted("sgd").sqrt, counted("sgd").divide, counted("sgd").bytes) == (0, 0, 24)
    assert (counted("adam").sqrt, counted("adam").divide, counted("adam").bytes) == (1, 1, 56)


def test_the_loop_it_is_compared_with_is_vectorised() -> None:
    limits = arithmetic_limits()
    print(f"\n{limits['the same, scalar'] / limits['sqrt and divide']:.2f} times as fast as the scalar loop")
    assert limits["the same, scalar"] > 1.2 * limits["sqrt and divide"]
    # One unit does both, so together they take as long as one after the other, or not much less.
    assert limits["sqrt and divide"] > 0.5 * (limits["sqrt"] + limits["divide"])


def test_the_table() -> None:
    report(STEPS, 20_000, ROUNDS, 400)


def test_adagrad_without_noise_is_near_the_limit_of_roots_and_divisions() -> None:
    found = shares("adagrad")
    print(f"\nAdaGrad, {RUNS} x {DIM}: {np.median(found):.2f} of the limit ({min(found):.2f} to {max(found):.2f})")
    assert np.median(found) >= SHARE


if __name__ == "__main__":
    report(*((20, 200, 2, 20) if "--quick" in sys.argv else (STEPS, 20_000, ROUNDS, 400)))
