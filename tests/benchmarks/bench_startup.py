"""How long ``theorysim --help`` takes, in units of ``import numpy``: run ``python tests/benchmarks/bench_startup.py``."""

from __future__ import annotations

import subprocess
import sys
import time

LIMIT = 4.0
ROUNDS = 15


def seconds(*words: str) -> float:
    """Wall time of one process."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def ratio() -> float:
    """The best times of both, measured in turns so that a busy moment hits both."""
    times = [(seconds("-m", "theorysim", "--help"), seconds("-c", "import numpy")) for _ in range(ROUNDS)]
    shown, numpy = (min(each) for each in zip(*times, strict=True))
    print(f"theorysim --help {shown:.3f} s, import numpy {numpy:.3f} s, ratio {shown / numpy:.2f} (limit {LIMIT:g})")
    return shown / numpy


def test_help_is_not_much_slower_than_numpy() -> None:
    assert ratio() <= LIMIT


if __name__ == "__main__":
    sys.exit(ratio() > LIMIT)
