"""The regret inequality (C1) that every convergence bound of ASGO follows from: it holds on every run, for any gradients."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Search, Spec
from theorysim.paper_checks._asgo_grid import REGRET, SHAPES, TALL, THETAS, WIDE, averaged, grid, orthogonal_start
from theorysim.paper_checks._asgo_paper import ASGO, PAPER, says_nothing, stands_still
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

_WHERE: dict[str, Any] = dict(ASGO.where)
_EXACT = 1e-12
_REACHED = 0.9  # of the bound, by the extremal sequence
_STATEMENT = (
    r"\sum_{t\le T}\langle G_t,W_t-W^*\rangle\le\Big(\frac{D_{\mathrm{op}}^2}{2\eta}+\eta\Big)"
    r"\mathrm{tr}\Big(\sum_{t\le T}G_tG_t^\top\Big)^{1/2}+\frac{\varepsilon mD_{\mathrm{op}}^2}{2\eta}"
)
_RANDOM = Search(
    problem("adversarial_gradients", m=4, n=4, law="outward", start="gaussian", normalize="op", eta=0.7, length=30, noise=0.3),
    algorithm("average", of=algorithm("asgo", lr=1 / sqrt(2), eps=0.0)),
    over={
        "m": (1, 8),
        "n": (1, 8),
        "law": ["outward", "random"],
        "start": ["gaussian", "profile"],
        "eta": (0.1, 3.0),
        "length": (1, 50),
        "noise": (0.0, 1.0),
        "lr": (0.1, 3.0),
        "eps": (0.0, 1.0),
    },
    steps=100,
    of="regret",
    bound=ASGO.regret,
    where=ASGO.where,
)


@claim(
    PAPER,
    source="C1, derived (the form of every regret bound of this kind)",
    kind="tight",
    statement=_STATEMENT,
    bound=ASGO.regret,
    assumptions="Any gradients, V_0 = 0; D_op and the trace are measured on the run, at every T. Quadratics of three shapes, "
    "with and without noise, the rotated group norm, the extremal sequence; theta in {.3, 1/sqrt(2), 1, 2, 3}, eps in {0, .1}.",
    controls=[
        Control({"factor": 0.9}, "the extremal sequence reaches more than .9 of the bound"),
        Control({"side": "right"}, "a preconditioner on the right does not obey the bound with the sum of G G' on the left"),
        Control({"method": "muon"}, "without accumulation the regret grows like T, the bound like sqrt(T)"),
    ],
    search=Search(
        problem("matrix_quadratic", m=4, n=4, start="gaussian", normalize="op", noise=0.0),
        algorithm("average", of=algorithm("asgo", lr=1 / sqrt(2), eps=0.0)),
        over={
            "m": (1, 8),
            "n": (1, 8),
            "decay": (0.0, 3.0),
            "rotation": [None, "random"],
            "start": ["gaussian", "aligned", "profile", "signs"],
            "profile_decay": (0.0, 2.0),
            "noise": (0.0, 3.0),
            "lr": (0.1, 10.0),
            "eps": (0.0, 1.0),
        },
        steps=100,
        of="regret",
        bound=ASGO.regret,
        where=ASGO.where,
    ),
)
def pathwise_regret(lab: Lab, factor: float = 1.0, side: str = "left", method: str = "asgo") -> Finding:
    """On every run the regret stays below ASGO's bound, and one sequence of gradients comes within 10 % of it."""
    if factor != 1:
        return _ratio(_extremal(lab), "extremal sequence", bound=f"{factor}*({ASGO.regret})")
    if method != "asgo":
        traces, label = grid(lab, 0.0, averaged(method), (WIDE,)), f"{method} in its place"
        return says_nothing(label) if stands_still(traces) else _ratio(traces, label, {**_WHERE, "eps": 0.0})
    if side != "left":
        return _ratio(grid(lab, 0.0, averaged(side=side), (WIDE, TALL)), f"{side} side")
    extremal = _ratio(_extremal(lab), "extremal sequence")
    parts = [
        *(_ratio(grid(lab, noise), f"quadratics, noise {noise:g}") for noise in (0.0, 0.3)),
        _ratio(_group_norms(lab), "rotated group norm"),
        extremal,
        band(extremal.measured or 0.0, low=_REACHED, label="the extremal sequence reaches the bound", predicted=1.0),
        _one_step(lab),
    ]
    return together(*parts, label="pathwise regret", panels=(parts[0].panels[0], extremal.panels[0]))


def _ratio(traces: list[Trace], label: str, where: dict[str, Any] = _WHERE, bound: str = ASGO.regret) -> Finding:
    return bound_ratio(traces, of="regret", bound=bound, where=where, label=f"regret / bound, {label}")


def _extremal(lab: Lab) -> list[Trace]:
    cases = lab.pick(quick=[(1 / sqrt(2), 1000), (2.0, 1000)], full=[(t, n) for t in THETAS for n in (1000, 10_000)])
    return lab.run_all(
        Cell(
            problem("adversarial_gradients", law="extremal", eta=theta, length=length),
            algorithm("average", of=algorithm("asgo", lr=theta, eps=0.0)),
            2 * length,
            measure=REGRET,
            record="all",
        )
        for theta, length in cases
    )


def _group_norms(lab: Lab) -> list[Trace]:
    sizes, runs = lab.pick(quick=[16], full=[m for m, _ in SHAPES]), lab.runs(lab.pick(quick=1, full=2))
    steps = lab.pick(quick=30, full=100)
    return lab.run_all(Cell(problem("rotated_group_norm", m=m), averaged(), steps, runs, REGRET, "all") for m in sizes)


def _one_step(lab: Lab) -> Finding:
    """The regret of one step from an orthogonal X_1 is 1/c(theta) of the bound, at every theta."""
    found = [_ratio([orthogonal_start(lab, lr=f"{theta!r}*D_op_0")], "T=1").measured or 0.0 for theta in THETAS]
    c = [1 / (2 * theta) + theta for theta in THETAS]
    return band(
        np.multiply(found, c), 1 - _EXACT, 1 + _EXACT, label="T=1, orthogonal X_1: c(theta) regret / bound", predicted=1.0
    )


# ------------------------------------------------------------------------------------------------ many instances
@claim(
    PAPER,
    source="C1, derived",
    kind="upper",
    statement=_STATEMENT,
    bound=ASGO.regret,
    assumptions="Shapes 1..8, each run another instance: noisy and exact quadratics with random starts, random gradients, and an "
    "adversary that pushes away and back; (theta, eps) in {(.3, 0), (1/sqrt(2), 0), (2, .1)}. Full: 10000 instances.",
    controls=[Control({"factor": 0.5}, "half of the bound is below what some of the instances reach")],
    search=_RANDOM,
)
def pathwise_regret_on_random_instances(lab: Lab, factor: float = 1.0) -> Finding:
    """Among many random and adversarial instances the largest regret / bound stays below 1; the count is part of the finding."""
    shapes = lab.pick(quick=[(1, 1), (2, 7), (5, 3)], full=[(m, n) for m in (1, 2, 3, 5, 8) for n in (1, 2, 3, 5, 8)])
    runs, bound = lab.runs(lab.pick(quick=60, full=100)), f"{factor}*({ASGO.regret})"
    method = algorithm("average", of=algorithm("asgo", lr=["0.3*D_op_0", "D_op_0/sqrt(2)", "2*D_op_0"], eps=[0.0, 0.0, 0.1]))
    parts = []
    for name in ("exact quadratic", "noisy quadratic", "random", "outward"):
        cells = [Cell(_random_instance(name, m, n), method, 30, runs, REGRET, "all") for m, n in shapes]
        parts.append(_ratio(lab.run_all(cells), f"{name}, {runs * len(cells)} instances", bound=bound))
    count, largest = runs * len(shapes) * len(parts), float(np.max([part.measured for part in parts]))
    label = f"pathwise regret on {count} random instances, 3 step sizes each: sup regret / bound {largest:.3f}"
    return together(*parts, label=label, panels=(parts[-1].panels[0],))


def _random_instance(name: str, m: int, n: int) -> Spec:
    if name in ("random", "outward"):
        return problem("adversarial_gradients", m=m, n=n, law=name, start="gaussian", normalize="op", length=20)
    noise = 1.0 if name == "noisy quadratic" else 0.0
    return problem("matrix_quadratic", m=m, n=n, rotation="random", normalize="op", noise=noise)


# ------------------------------------------------------------------------------------------------ eps inside the root
@claim(
    PAPER,
    source="Section 1.2, derived for one-sided Shampoo (Xie, Wang, Reddi, Kumar, Li 2025; method recalled)",
    kind="upper",
    statement=r"V_0=\varepsilon^2I:\quad\sum_{t\le T}\langle G_t,W_t-W^*\rangle\le"
    r"\Big(\frac{D_{\mathrm{op}}^2}{2\eta}+\eta\Big)\mathrm{tr}\Big(\varepsilon^2I+\sum_{t\le T}G_tG_t^\top\Big)^{1/2}",
    bound="(D**2/(2*eta) + eta)*S",
    assumptions="Quadratics of three shapes, theta in {.3, 1/sqrt(2), 1, 2, 3}; eps = .1 or 3 inside the root; S counts eps^2 I.",
    controls=[Control({"counted": False}, "with eps^2 I left out of the trace, a large eps makes steps that the bound denies")],
)
def one_sided_shampoo_regret(lab: Lab, counted: bool = True) -> Finding:
    """With the regulariser inside the root, the regret bound holds without a term in eps."""
    parts = []
    for eps in (0.1, 3.0):
        norm = f"adaptive_norm:left,{eps:g}" if counted else "adaptive_norm:left"
        method = algorithm("one_sided_shampoo", lr=[f"{theta!r}*D_op_0" for theta in THETAS], eps=eps)
        cells = [
            Cell(
                problem("matrix_quadratic", m=m, n=n, rotation="random", noise=noise),
                method,
                lab.pick(quick=20, full=200),
                lab.runs(lab.pick(quick=1, full=5)),
                ("regret", "max_distance:op", norm),
                "all",
            )
            for m, n in ((12, 12), (8, 20), (20, 8))
            for noise in (0.0, 0.3)
        ]
        where = {"D": "max_distance:op", "S": norm, "eta": "lr"}
        parts.append(_ratio(lab.run_all(cells), f"eps={eps:g} inside the root", where, "(D**2/(2*eta) + eta)*S"))
    return together(*parts, label="one-sided Shampoo", panels=parts[0].panels)
