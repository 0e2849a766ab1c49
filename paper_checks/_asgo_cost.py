"""What a step of each method costs (section 4): floats of state, counted on the states themselves, and products, by formula."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from theorysim.analyses.band import band
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._asgo_paper import PAPER
from theorysim.registry import ALGORITHMS, algorithm, claim, problem
from theorysim.run import run_cell


class _Cost(NamedTuple):
    """``floats``: what our state holds besides W. ``card``: what the card has, with why ours is another. ``flops``: of a step."""

    spec: Spec
    floats: str
    card: str
    why: str
    flops: str


_PRODUCT = "10*8*k**3"  # ten quintics of four products each
_FACTORS = "roots are kept as U and s: one float more a row, and no inverse root beside them"
_COSTS = {
    "ASGO, the code": _Cost(
        algorithm("asgo_practical", lr=0.01), "m*n + k**2", "m*n + k**2", "", f"2*k**2*K + {_PRODUCT} + 2*k**2*K"
    ),
    "ASGO, root kept for 10 steps": _Cost(
        algorithm("asgo_practical", lr=0.01, tau=10), "m*n + 2*k**2", "m*n + 2*k**2", "", f"2*k**2*K + {_PRODUCT}/10 + 2*k**2*K"
    ),
    "ASGO, the theory": _Cost(
        algorithm("asgo", lr=0.1), "m**2 + m", "m*n + k**2", f"no momentum, always the left side; {_FACTORS}", ""
    ),
    "Muon": _Cost(algorithm("muon", lr=0.01, root="newton_schulz", momentum=0.9), "m*n", "m*n", "", "5*(4*k**2*K + 2*k**3)"),
    "Shampoo": _Cost(
        algorithm("shampoo", lr=0.01, decay=0.999, momentum=0.9, grafting="adam"),
        "2*m*n + m**2 + n**2 + m + n",
        "2*m*n + 2*(m**2 + n**2)",
        _FACTORS,
        "4*m*n*(m + n) + 50*8*(m**3 + n**3)",
    ),
    "AdaGrad": _Cost(algorithm("adagrad", lr=0.01), "m*n", "m*n", "", "5*m*n"),
    "Adam": _Cost(algorithm("adam", lr=0.01), "2*m*n", "2*m*n", "", "12*m*n"),
    "DASGO, the code": _Cost(algorithm("dasgo_practical", lr=0.01), "m*n + n", "m*n + n", "", "8*m*n"),
    "full-matrix AdaGrad": _Cost(
        algorithm("full_matrix_adagrad", lr=0.01), "(m*n)**2 + m*n", "(m*n)**2", _FACTORS, "25*(m*n)**3"
    ),
}
_COUNTED = ((12, 20), (20, 12), (12, 12))


@claim(
    PAPER,
    source="Section 4 (derived from the algorithm and the authors' code)",
    kind="identity",
    statement=r"\text{ASGO: }mn+k^2,\quad\text{with a kept root }mn+2k^2,\quad\text{Muon: }mn,\quad\text{Adam: }2mn,"
    r"\quad\text{DASGO: }mn+n,\quad\text{full matrix: }(mn)^2\qquad(k=\min(m,n))",
    assumptions="12 x 20, 20 x 12 and 12 x 12; floats of all arrays that a state holds for one run, W left out. Milliseconds are "
    "of this machine and shown only.",
    controls=[Control({"kept": 10}, "a root that is kept for later steps takes another k^2 floats")],
)
def state_sizes(lab: Lab, kept: int = 1) -> Finding:
    """Every method holds as many floats as the formula says; ASGO's state is one k x k matrix beside the momentum."""
    if kept > 1:
        return _counted(lab, "ASGO, the code", _COSTS["ASGO, the code"]._replace(spec=algorithm("asgo_practical", tau=kept)))
    parts = [_counted(lab, name, cost) for name, cost in _COSTS.items()]
    return together(*parts, label="floats of state", tables=(_table(lab),))


def _counted(lab: Lab, name: str, cost: _Cost) -> Finding:
    off = [_floats(lab, cost.spec, m, n) - _value(cost.floats, m, n) for m, n in _COUNTED]
    return band(off, 0.0, 0.0, label=f"{name}: floats of state minus {cost.floats}", predicted=0.0)


def _floats(lab: Lab, spec: Spec, m: int, n: int) -> int:
    instance = lab.build(problem("matrix_quadratic", m=m, n=n))
    state = ALGORITHMS.get(spec.name)(**spec.arguments).init(instance, instance.start)
    return sum(_sizes(state)) - m * n


def _sizes(state: Any) -> list[int]:
    """Entries of the arrays in a state, those of states within included."""
    inside = [size for part in state if isinstance(part, tuple) for size in _sizes(part)]
    return inside + [int(np.prod(part.shape)) for part in state if getattr(part, "shape", ())]


def _value(formula: str, m: int, n: int) -> int:
    return int(Bound(formula)({"m": m, "n": n, "k": min(m, n), "K": max(m, n)})) if formula else 0


def _table(lab: Lab) -> Table:
    """The card's table for one layer, with the time of a step and its gradient; full-matrix AdaGrad does not fit there."""
    m, n = lab.pick(quick=(32, 64), full=(256, 512))
    rows = []
    for name, cost in _COSTS.items():
        took = _milliseconds(lab, cost.spec, m, n) if cost.spec.name != "full_matrix_adagrad" else "does not fit"
        flops = f"{_value(cost.flops, m, n):.3g}" if cost.flops else "a decomposition"
        rows.append((name, _value(cost.floats, m, n), _value(cost.card, m, n), cost.why, flops, took))
    columns = ("method", "floats of state", "by the formula", "why they differ", "flops of a step", "ms of a step here")
    return Table(f"Cost of a step, {m} x {n}, float64, on {lab.backend.describe()}", columns, tuple(rows))


def _milliseconds(lab: Lab, spec: Spec, m: int, n: int) -> float:
    """Twelve steps minus two, so that the set-up drops out; the shortest of three tries each."""
    cell = Cell(problem("matrix_quadratic", m=m, n=n), spec, 2, record="last", seed=lab.seed)
    short, long = (min(_seconds(replace(cell, steps=steps), lab) for _ in range(3)) for steps in (2, 12))
    return 100 * (long - short)


def _seconds(cell: Cell, lab: Lab) -> float:
    begin = time.perf_counter()
    run_cell(cell, lab.backend)
    return time.perf_counter() - begin
