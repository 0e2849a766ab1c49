"""ASGO on real data, handwritten digits, where W is a matrix by nature: its bounds."""

from __future__ import annotations

from math import nan, sqrt
from typing import Any

import numpy as np

from theorysim.analyses.bound_in_expectation import bound_in_expectation
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.certificate import certificate
from theorysim.analyses.steps_to import steps_to
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._asgo_paper import ASGO, PAPER, STRUCTURES
from theorysim.paper_checks._grids import half_octaves
from theorysim.registry import algorithm, claim, problem

_THETA = (0.3, 1 / sqrt(2), 1.0, 3.0)
_TARGET = 1e-2
_DISTANCE = ASGO.measures[0]
_FROZEN = Control({"fault": "frozen"}, "an optimizer that never moves keeps its error")
_GD_GRID = (0.7, 1.0, 1.2, 1.4, 1.6, 1.7, 1.8, 1.9, 1.98)


def squared(pool: int) -> Spec:
    return problem("digits_regression", loss="squared", pool=pool)


def softmax(pool: int, **params: Any) -> Spec:
    return problem("digits_regression", samples=600, pool=pool, **params)


def _averaged(fault: str | None, **params: Any) -> Spec:
    """ASGO with the average of its iterates, or a method with a fault in its place."""
    return algorithm(
        "average", of=algorithm("asgo", **params) if fault is None else algorithm("faulty_adagrad", fault=fault, **params)
    )


def _below_bound(lab: Lab, instances: dict[str, tuple[Spec, int]], fault: str | None) -> list[Finding]:
    """Without noise: the smooth bound at every recorded T on every run, for every theta; and the constants, measured again."""
    method = _averaged(fault, lr=[f"{theta!r}*{ASGO.start}" for theta in _THETA], eps=[0.0] * len(_THETA))
    where = {name: ASGO.where[name] for name in ("D", "eta", "eps")}
    parts = []
    for name, (instance, horizon) in instances.items():
        trace = lab.run(Cell(instance, method, horizon, measure=("gap", _DISTANCE)))
        label = f"{name}: f(wbar) / bound, T = 1..{horizon}"
        parts.append(bound_ratio([trace], of="gap", bound=ASGO.smooth_bound(), where=where, label=label))
    if fault is None:
        specs = [instance for instance, _ in instances.values()]
        parts += lab.map(lambda spec: certificate(lab.build(spec), label=f"constants of {spec}"), specs)
    return parts


@claim(
    PAPER,
    source="C3 without noise (form recalled, constants derived) on least squares, whose Hessian is I (x) L (derived)",
    kind="upper",
    statement=r"f(W)=\tfrac1{2N}\|AW-Y\|_F^2+\tfrac\rho2\|W\|_F^2:\quad\nabla^2f=I\otimes L,\ L=\tfrac{A^\top A}N+\rho I,\quad "
    r"f(\bar W_T)-f^*\le\frac{c^2\|L\|_*D_{op}^2}{2T}",
    bound=ASGO.smooth_bound(),
    assumptions="1797 images of digits, 10 classes, rho = .01, W_1 = 0, eps = 0, theta = eta/‖W*‖_op in {.3, .71, 1, 3}; D_op is "
    "measured up to T. Steps to the target are shown, not judged: bounds do not order methods.",
    controls=[_FROZEN],
)
def matrix_regression_bound(lab: Lab, fault: str | None = None) -> Finding:
    """On least squares for digits the bound with the nuclear norm of L holds at every T and for every step size."""
    instances = {"16 pixels": (squared(2), lab.pick(quick=400, full=10_000))}
    instances["64 pixels"] = (squared(1), lab.pick(quick=100, full=2000))
    parts = _below_bound(lab, instances, fault)
    tables = () if fault else (_steps_on_digits(lab, {name: spec for name, (spec, _) in instances.items()}),)
    return together(*parts, label="least squares on digits", panels=parts[0].panels, tables=tables)


def _steps_on_digits(lab: Lab, instances: dict[str, Spec]) -> Table:
    """Steps to 1e-2 of the initial error, best step size of each method's grid, beside the bounds' order of the methods."""
    every, outcome, rows = lab.pick(quick=2, full=1), steps_to(_TARGET), []
    compared = {name: STRUCTURES[name] for name in ("ASGO", "DASGO", "AdaGrad-Norm", "AdaGrad")}
    methods = {name: each.spec(lr=half_octaves(each.start, -3, 3)[::every]) for name, each in compared.items()}
    methods["gradient descent"] = algorithm("gradient_descent", lr=[f"{multiple}/lambda_max" for multiple in _GD_GRID])
    cap = lab.pick(quick=600, full=5000)
    for data, spec in instances.items():
        cells = [Cell(spec, method, cap, record=outcome.record, until=outcome.until) for method in methods.values()]
        for name, trace in zip(methods, lab.run_all(cells), strict=True):
            counts = outcome.read(trace)
            best = float(np.nanmin(counts)) if np.isfinite(counts).any() else nan
            ours = Bound(f"{ASGO.smooth}*{ASGO.start}**2")(trace.constants)
            theirs = _order(name)(trace.constants)
            rows.append((data, name, f"> {cap}" if np.isnan(best) else f"{best:g}", float(np.mean(ours / theirs))))
    title = (
        f"Steps to {_TARGET:g} of the initial error (last iterate), and the bound of ASGO over that of the method, at T and D_1"
    )
    return Table(title, ("data", "method", "steps", "ASGO's bound / its bound"), tuple(rows))


def _order(name: str) -> Bound:
    """The method's bound times T, at its best step size for its distance at the start."""
    if name == "gradient descent":
        return Bound("lambda_max*D_2_0**2/2")
    return Bound(f"{STRUCTURES[name].smooth}*{STRUCTURES[name].start}**2")


@claim(
    PAPER,
    source="C3 (form recalled, constants derived) on multinomial logistic regression; L and V derived from the data",
    kind="upper",
    statement=r"\mathrm{diag}(p)-pp^\top\preceq\tfrac12I,\ \|p-y\|^2\le2:\quad L=\tfrac{A^\top A}{2N}+\rho I,"
    r"\ V^2=\tfrac{2A^\top A}N,\quad\mathbb E f(\bar W_T)-f^*\le\frac{c^2\|L\|_*D_{op}^2}{2T}+\frac{c\|V\|_*D_{op}}{\sqrt{MT}}",
    bound=ASGO.smooth_bound(noisy=True),
    assumptions="600 images of digits, 10 classes, rho = .01, W_1 = 0, eps = 0; minibatches of 256 with replacement and theta = "
    "1/sqrt(2) at the start. With noise D_op is a plug-in: the largest over all steps and seeds, where the theorem asks for an "
    "almost sure bound.",
    controls=[_FROZEN],
)
def softmax_regression_bound(lab: Lab, fault: str | None = None) -> Finding:
    """On multinomial logistic regression for digits the bound holds, exactly and in the mean over minibatches."""
    instances = {"16 pixels": (softmax(2), lab.pick(quick=400, full=4000))}
    if lab.level == "full":
        instances["64 pixels"] = (softmax(1), 400)
    parts = _below_bound(lab, instances, fault)
    steps = lab.pick(quick=(25, 50, 100, 200), full=(25, 50, 100, 200, 400, 800))
    noisy, method = softmax(2, batch=256), _averaged(fault, lr=f"{ASGO.start}/sqrt(2)")
    trace = lab.run(Cell(noisy, method, steps[-1], lab.runs(10), ("gap", _DISTANCE), steps))
    eta, largest = float(trace.hyper("lr")[0]), float(np.max(trace[_DISTANCE]))
    values = {**trace.constants, "D": largest, "eta": eta, "eps": 0.0, "T": np.array(steps, float)}
    bound = Bound(ASGO.smooth_bound(noisy=True))(values)
    mean = bound_in_expectation(np.array(steps, float), trace["gap"], bound, label="minibatches: mean of f(wbar) / bound")
    extra = [] if fault else [certificate(lab.build(noisy), label=f"constants of {noisy}")]
    return together(*parts, mean, *extra, label="softmax on digits", panels=parts[0].panels + mean.panels)
