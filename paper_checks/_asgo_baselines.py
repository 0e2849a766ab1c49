"""The bounds of the compared methods (section 3 of the derivation): one proof, one code path, and who has the smaller bound."""

from __future__ import annotations

from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_in_expectation import bound_in_expectation
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._asgo_paper import PAPER, STRUCTURES
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

_SIZE = {"m": 10, "n": 10}
_THETAS = (0.3, 1 / sqrt(2), 2.0)
_FULL = "full-matrix AdaGrad"


class Method(NamedTuple):
    """A compared method with its regret bound. ``unit``: what theta multiplies; ``rank`` r, of Shampoo's bound only."""

    name: str
    algorithm: str
    unit: str
    measures: tuple[str, ...]
    where: dict[str, Any]
    bound: str

    def run(self, lab: Lab, instance: Spec, steps: int, runs: int, thetas: tuple[float, ...]) -> Trace:
        """The average iterate at all step sizes, with the method's eps."""
        lr = [f"{theta!r}*{self.unit}" for theta in thetas]
        method = algorithm("average", of=algorithm(self.algorithm, lr=lr, eps=self.where["eps"]))
        return lab.run(Cell(instance, method, steps, runs, ("regret", *self.measures), "all"))


def _methods(eps: float, size: int = 10) -> list[Method]:
    """The five structures and Shampoo, whose eps lies inside the roots and whose gradients have rank at most ``size``."""
    found = [Method(name, s.method, s.start, s.measures, {**s.where, "eps": eps}, s.regret) for name, s in STRUCTURES.items()]
    roots = ("max_distance:2", f"fourth_roots:{eps:g}")
    where = {"D": roots[0], "F": roots[1], "eta": "lr", "r": float(size), "eps": eps}
    return [*found, Method("Shampoo", "shampoo", f"D_2_0/sqrt({size})", roots, where, "(D**2/(2*eta) + eta*r)*F")]


@claim(
    PAPER,
    source="Section 3, regret bounds (derived; Shampoo's agrees with Gupta, Koren, Singer 2018, Theorem 7, recalled)",
    kind="tight",
    statement=r"\text{regret}\le\Big(\frac{D^2}{2\eta}+\eta\Big)S_T+\frac{\varepsilon pD^2}{2\eta},\qquad"
    r"\text{Shampoo: }\Big(\frac{D_F^2}{2\eta}+\eta r\Big)\mathrm{tr}L_T^{1/4}\,\mathrm{tr}R_T^{1/4}",
    bound="(D**2/(2*eta) + eta)*S + eps*p*D**2/(2*eta)",
    assumptions="10 x 10: quadratics with and without noise, random gradients, an adversary; theta in {.3, 1/sqrt(2), 2}, eps in "
    "{0, .1}. 1 x 1: a quadratic and the extremal sequence, where all six methods are one. D and S measured, at every T.",
    controls=[Control({"factor": 0.85}, "the extremal sequence reaches more than .85 of every one of the bounds")],
)
def baseline_regrets(lab: Lab, factor: float = 1.0) -> Finding:
    """Each of six methods keeps its own regret bound, under noise and under adversaries, and comes close to it once."""
    length, parts, rows = lab.pick(quick=400, full=1000), [], []
    extremal, line = problem("adversarial_gradients", length=length), problem("matrix_quadratic", m=1, n=1)
    for method in _methods(0.0, size=1):
        best = _THETAS[1:2]
        close = _regret([method.run(lab, extremal, 2 * length, 1, best)], method, f"{method.name}, extremal sequence", factor)
        reached = band(close.measured or 0.0, low=0.85, label=f"{method.name}: reaches its bound", predicted=1.0)
        parts += [close, reached, _regret([method.run(lab, line, 30, 1, best)], method, f"{method.name}, 1 x 1")]
        rows.append([method.name, close.measured])
    if factor != 1:
        return together(*parts[::3], label="regrets of the compared methods")
    for name, instances in (("quadratics", _quadratics()), ("adversaries", _adversaries())):
        for i, pair in enumerate(zip(_methods(0.0), _methods(0.1), strict=True)):
            found = [_worst_regret(lab, method, instances, name) for method in pair]
            parts += found
            rows[i].append(float(np.max([part.measured for part in found])))
    columns = ("method", "extremal sequence", "quadratics", "adversaries")
    table = Table("Largest regret / bound", columns, tuple(map(tuple, rows)))
    return together(*parts, label="regrets of the compared methods", panels=parts[0].panels, tables=(table,))


def _quadratics() -> list[Spec]:
    return [problem("matrix_quadratic", **_SIZE, rotation="random", noise=noise) for noise in (0.0, 0.3)]


def _adversaries() -> list[Spec]:
    settings: dict[str, Any] = {**_SIZE, "start": "gaussian", "normalize": "op", "length": 15}
    return [problem("adversarial_gradients", law=law, **settings) for law in ("random", "outward")]


def _worst_regret(lab: Lab, method: Method, instances: list[Spec], name: str) -> Finding:
    heavy = method.name == _FULL and lab.level == "quick"  # an eigenproblem of size mn in every step
    thetas, runs = (_THETAS[1:2], 1) if heavy else (_THETAS, lab.runs(lab.pick(quick=1, full=5)))
    steps = lab.pick(quick=12 if heavy else 30, full=60)
    traces = [method.run(lab, instance, steps, runs, thetas) for instance in instances]
    return _regret(traces, method, f"{method.name}, eps={method.where['eps']:g}, {name}")


def _regret(traces: list[Trace], method: Method, label: str, factor: float = 1.0) -> Finding:
    bound = f"{factor}*({method.bound})"
    return bound_ratio(traces, of="regret", bound=bound, where=method.where, label=f"regret / bound, {label}")


# ------------------------------------------------------------------------------------------------ smooth
@claim(
    PAPER,
    source="Section 3, smooth and nonsmooth bounds (derived)",
    kind="tight",
    statement=r"f(\bar w_T)-f^*\le\frac{c^2}2\frac{\Lambda D^2}T+\frac{\varepsilon pD}{2\theta T},\quad"
    r"\text{GD: }\frac{\lambda D_F^2}{2T},\quad\text{SGD: }\frac{2\lambda D_F^2}T+\frac{2D_F\sigma}{\sqrt{MT}}"
    r"\ \text{ or }\ \frac{D_FG_F}{\sqrt T}",
    bound="lambda_max*D_2_0**2/(2*T)",
    assumptions="10 x 10 quadratics, axis-aligned and rotated, theta in {.3, 1/sqrt(2), 2}, eps in {0, .1}; one step in one "
    "dimension; SGD with the prescribed steps, 10 seeds; Huber functions of width R/T from distance R, T in {1, 2, 7, 40}, on "
    "which gradient descent meets its bound.",
    controls=[
        Control({"factor": 0.99}, "gradient descent attains its bound on a Huber function"),
        Control({"smooth": "trace_H"}, "after a rotation the trace is no sum of L with diag(L) >= Hessian, as AdaGrad needs"),
    ],
)
def baseline_convergence(lab: Lab, factor: float = 1.0, smooth: str = "L_1norm") -> Finding:
    """Each compared method keeps its own convergence bound; gradient descent attains its bound exactly."""
    if smooth != "L_1norm":
        return _one_step_along(lab, smooth)
    sharp = _huber(lab, factor)
    if factor != 1:
        return together(*sharp[::2], label="gradient descent")
    parts = [*sharp, *_structures(lab), *_gradient_descent(lab), *_sgd(lab)]
    table = Table("Largest f / bound", ("method", "f / bound"), tuple((part.label, part.measured) for part in parts))
    return together(*parts, label="convergence of the compared methods", panels=parts[0].panels, tables=(table,))


def _huber(lab: Lab, factor: float) -> list[Finding]:
    parts = []
    for horizon in (1, 2, 7, 40):
        method = algorithm("average", of=algorithm("gradient_descent", lr="1/lambda_max"))
        trace = lab.run(Cell(problem("huber", threshold=1 / horizon), method, horizon, record="last"))
        bound = f"{factor}*lambda_max*D_2_0**2/(2*T)"
        part = bound_ratio([trace], of="gap", bound=bound, label=f"GD on a Huber function, T={horizon}")
        exact = band(part.measured or 0.0, 1 - 1e-12, 1 + 1e-12, label=f"GD attains its bound, T={horizon}", predicted=1.0)
        parts += [part, exact]
    return parts


def _structures(lab: Lab) -> list[Finding]:
    instances = [problem("matrix_quadratic", **_SIZE, rotation=rotation) for rotation in (None, "random")]
    parts = []
    for name, structure in STRUCTURES.items():
        heavy = name == _FULL and lab.level == "quick"
        thetas, steps = (_THETAS[1:2], 12) if heavy else (_THETAS, lab.pick(quick=30, full=100))
        lr = [f"{theta!r}*{structure.start}" for theta in thetas for _ in range(2)]
        method = algorithm("average", of=structure.spec(lr=lr, eps=[0.0, 0.1] * len(thetas)))
        runs = 1 if heavy else lab.runs(lab.pick(quick=2, full=5))
        traces = lab.run_all(Cell(each, method, steps, runs, ("gap", *structure.measures), "all") for each in instances)
        label = f"{name}, smooth"
        parts.append(bound_ratio(traces, of="gap", bound=structure.smooth_bound(), where=structure.where, label=label))
        parts.append(_one_step(lab, name))
    return parts


def _one_step(lab: Lab, name: str) -> Finding:
    """In one dimension the first step meets half of the smooth bound, whatever the structure, and later ones less."""
    structure = STRUCTURES[name]
    method = algorithm("average", of=structure.spec(lr=f"{structure.start}/sqrt(2)", eps=0.0))
    cell = Cell(problem("matrix_quadratic", m=1, n=1), method, 20, 1, ("gap", *structure.measures), "all")
    found = bound_ratio([lab.run(cell)], of="gap", bound=structure.smooth_bound(), where=structure.where, label=name)
    return band(found.measured or 0.0, 0.5 - 1e-12, 0.5 + 1e-12, label=f"{name}, smooth, 1 x 1", predicted=0.5)


def _one_step_along(lab: Lab, smooth: str) -> Finding:
    """AdaGrad from entries +-1 along the only curved direction, (1, ..., 1)/sqrt(m), of a rotated Hessian."""
    structure = STRUCTURES["AdaGrad"]._replace(smooth=smooth)
    spike, ones = [1.0] + [0.0] * 7, [[1.0] * 2] * 8
    instance = problem("matrix_quadratic", m=8, n=2, spectrum=spike, rotation="hadamard", start=ones)
    method = algorithm("average", of=structure.spec(lr=f"{structure.start}/sqrt(2)", eps=0.0))
    trace = lab.run(Cell(instance, method, 1, 1, ("gap", *structure.measures), "last"))
    label = f"AdaGrad, {smooth} in place of L_1norm"
    return bound_ratio([trace], of="gap", bound=structure.smooth_bound(), where=structure.where, label=label)


def _gradient_descent(lab: Lab) -> list[Finding]:
    instances = [problem("matrix_quadratic", **_SIZE, rotation="random", decay=decay) for decay in (0.0, 1.0, 2.0)]
    method = algorithm("average", of=algorithm("gradient_descent", lr="1/lambda_max"))
    traces = lab.run_all(Cell(each, method, 100, lab.runs(2), ("gap", "gap_iterate"), "all") for each in instances)
    return [
        bound_ratio(traces, of="gap", bound="lambda_max*D_2_0**2/(2*T)", label="GD, f(wbar_T)"),
        bound_ratio(traces, of="gap_iterate", bound="lambda_max*D_2_0**2/(2*(T+1))", label="GD, f(w_T)"),
    ]


def _sgd(lab: Lab) -> list[Finding]:
    parts, horizons = [], (50, 200)
    for batch in (1, 16):
        instance = problem("matrix_quadratic", **_SIZE, rotation="random", normalize="2", noise=0.3, batch=batch)
        traces = []
        for horizon in horizons:
            lr = f"Min(1/(2*lambda_max), D_2_0*sqrt(M)/(sigma_2norm*sqrt({horizon})))"
            method = algorithm("average", of=algorithm("sgd", lr=lr))
            traces.append(lab.run(Cell(instance, method, horizon, lab.runs(10), record="last")))
        errors = [[float(gap) for gap in run] for run in zip(*(trace["gap"][:, -1] for trace in traces), strict=True)]
        bound = Bound("2*lambda_max*D_2_0**2/T + 2*D_2_0*sigma_2norm/sqrt(M*T)")
        constants = {name: float(traces[0].constant(name)[0]) for name in traces[0].constants}
        limits = [float(bound({**constants, "T": horizon})) for horizon in horizons]
        parts.append(bound_in_expectation(horizons, errors, limits, label=f"SGD, M={batch}, smooth, in expectation"))
    steps = 100
    method = algorithm("average", of=algorithm("sgd", lr=f"D_2_0/(G_F*sqrt({steps}))"))
    trace = lab.run(Cell(problem("rotated_group_norm", m=10, spectrum="power"), method, steps, lab.runs(2), record="last"))
    return [*parts, bound_ratio([trace], of="gap", bound="D_2_0*G_F/sqrt(T)", label="SGD, not smooth")]
