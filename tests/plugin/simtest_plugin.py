"""What another package may add to theorysim; the tests of the command line install it by its entry points.

``BOWL_SECONDS``: how long a gradient of the bowl takes. ``BOWL_LOG``: a file that gets a line for every bowl that is built.
``BOWL_FATAL``: a bowl of this dimension kills the process it is built in.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

import theorysim as ts
from theorysim.model import Algorithm, Array, Cell, Draw, Problem
from theorysim.noise import Draws, Stream


@ts.register_problem
def bowl(draws: Draws, dim: int = 3, noise: float = 0.0) -> Problem:
    """f(w) = |w|^2 / 2 from (1, 2, ..., dim), with gradients that take their time."""
    if "BOWL_LOG" in os.environ:
        with Path(os.environ["BOWL_LOG"]).open("a") as log:
            log.write(f"{dim}\n")
    if os.environ.get("BOWL_FATAL") == str(dim):
        os.kill(os.getpid(), signal.SIGKILL)
    xp = draws.backend.xp
    start = draws.backend.asarray(np.tile(np.arange(1.0, dim + 1), (len(draws.runs), 1)))

    def gradient(x: Array) -> Array:
        time.sleep(float(os.environ.get("BOWL_SECONDS", "0")))
        return x

    def sample(x: Array, draw: Draw) -> Array:
        return gradient(x) + noise * draws.normal(Stream.GRADIENT, draw, (dim,))

    def gap(x: Array) -> Array:
        return 0.5 * xp.sum(x * x, axis=1)

    return Problem((dim,), start, 0.0 * start, {"L": 1.0}, gap, gradient, sample)


@ts.register_algorithm
def gossip(lr: float = 0.1) -> Algorithm:
    """Averages with its neighbours, so it needs a network."""
    return Algorithm(lambda problem, x0: x0, lambda state, oracle: state, requires=("network",))


@ts.register_analysis
def halfway(low: float, high: float = 1.0) -> float:
    """The middle of two numbers."""
    return (low + high) / 2


ENTRY = "@article{bowl2031,\n  year = {2031}\n}"
BOWL = ts.Paper("bowl_paper", "Bowls Are Easy", "A. Author, B. Author", 2031, "Journal of Bowls", ENTRY)
VERDICTS = ts.Paper("verdict_paper", "One Claim per Verdict", "A. Author", 2032, "Journal of Verdicts", "@article{verdict2032}")
TOO_LOW = ts.Control({"limit": 0.0}, "no gap is below 0")


@ts.claim(BOWL, source="Lemma 1", kind="upper", statement=r"f(w_{T+1}) \le f(w_1)", controls=[TOO_LOW], assumptions="A bowl.")
def gap_falls(lab: Any, limit: float = 1.0) -> ts.Finding:
    """Ten bowls, each run by itself; all gaps together have shrunk.

    The whole story is told here.
    """
    cells = [Cell(ts.problem("bowl", dim=d, noise=0.1), ts.algorithm("sgd", lr=0.3), 10, record="last") for d in range(2, 12)]
    gaps = [trace["gap"][0] for trace in lab.run_all(cells)]
    ratio = float(sum(gap[-1] for gap in gaps) / sum(gap[0] for gap in gaps))
    return _finding(ts.Verdict.CONSISTENT if ratio <= limit else ts.Verdict.VIOLATED, ratio)


def _finding(verdict: ts.Verdict, measured: float) -> ts.Finding:
    return ts.Finding("ratio", verdict, f"the ratio is {measured:.3g}", measured=measured, predicted=1.0)


def _verdict_claim(name: str, verdict: ts.Verdict, of_control: ts.Verdict = ts.Verdict.VIOLATED) -> None:
    def judged(lab: Any, control: bool = False) -> ts.Finding:
        return _finding(of_control if control else verdict, float(lab.runs(8)))

    judged.__name__, judged.__doc__ = name, f"A claim that {name.replace('_', ' ')}."
    controls = [ts.Control({"control": True}, "it is made to fail")]
    ts.claim(VERDICTS, source="Remark 1", kind="band", statement="x = 1", controls=controls)(judged)


_verdict_claim("holds", ts.Verdict.CONSISTENT)
_verdict_claim("breaks", ts.Verdict.VIOLATED)
_verdict_claim("stays_open", ts.Verdict.UNDECIDED)
_verdict_claim("has_a_sleeping_control", ts.Verdict.CONSISTENT, of_control=ts.Verdict.CONSISTENT)
