"""Dimension dependence (B4): gradient descent pays for the dimension, AdaGrad does not, unless the axes are turned."""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.analyses.band import band
from theorysim.analyses.exponent import exponent
from theorysim.analyses.slope import slope
from theorysim.analyses.steps_to import steps_to
from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, Table, Verdict, together, worst
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._adagrad_paper import PAPER
from theorysim.paper_checks._grids import half_octaves
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

_CAP = 4000


class Family(NamedTuple):
    """Quadratics on which the bound of gradient descent is tight: settings, relative accuracy, dimensions, predicted exponent."""

    name: str
    settings: dict[str, Any]
    accuracy: float
    dims: tuple[int, ...]
    predicted: float


_START = {"start": "uniform", "low": 0.5, "high": 1.0}
_F1 = [Family(f"power law a={a}", {"decay": a, **_START}, 0.1, (300, 1000, 3000, 10_000), a) for a in (0.5, 0.75)]
_F2 = Family("head and bulk", {"spectrum": "head_bulk", **_START}, 1e-3, (300, 1000, 3000), 1.0)
_FAMILIES = [*_F1, _F2]
_HEAD, _BULKS = 8, tuple(round(float(size)) for size in np.geomspace(100, 10_000, 9))

_GD = algorithm("gradient_descent", lr="1/lambda_max")
_GRID = half_octaves("D_inf_0", -3, 3)
_ADAGRAD = algorithm("adagrad", lr=_GRID)
_BOUNDS = {
    "gradient_descent": "lambda_max*D_2_0**2/2",
    "adagrad_norm": "4*lambda_max*D_2_0**2",
    "adagrad": "4*L_1norm*D_inf_0**2",
}


def _traces(lab: Lab, family: Family, method: Spec, dims: tuple[int, ...], runs: int, cap: int = _CAP) -> list[Trace]:
    outcome = steps_to(family.accuracy)
    return lab.run_all(
        Cell(
            problem("anisotropic_quadratic", dim=d, **family.settings),
            method,
            cap,
            runs,
            record=outcome.record,
            until=outcome.until,
        )
        for d in dims
    )


def _fastest(family: Family, traces: list[Trace]) -> NDArray[np.float64]:
    """``(runs, dims)`` steps of each run's best step size; infinity where none arrived before the cap."""
    counts = [steps_to(family.accuracy).read(trace) for trace in traces]
    return np.stack([np.where(np.isnan(count), inf, count).min(axis=0) for count in counts], axis=1)


@claim(
    PAPER,
    source="B4 (bound of gradient descent, derived; families chosen so that it is tight)",
    kind="rate",
    statement=r"T_{\mathrm{GD}}(d)\sim d^{\,a}\ (L_j=j^{-a}),\qquad T_{\mathrm{GD}}(d)\sim d\ (\text{head and bulk})",
    bound="lambda_max*D_2_0**2/(2*T)",
    assumptions="Deterministic quadratics, |w_1 - w*| in [.5, 1], eta = 1/lambda_max; relative accuracy .1 (power law), 1e-3.",
    controls=[Control({"method": _ADAGRAD}, "AdaGrad in its place does not pay: the exponents are 0")],
)
def gradient_descent_pays_for_dimension(lab: Lab, method: Spec = _GD) -> Finding:
    """The steps of gradient descent grow with the dimension as its bound says."""
    parts = []
    for family in _FAMILIES:
        steps = _fastest(family, _traces(lab, family, method, family.dims, lab.runs(lab.pick(quick=2, full=5)))).mean(axis=0)
        if method != _GD and not np.isfinite(steps).all():  # its exponents must be wrong, not missing
            return Finding(family.name, Verdict.UNDECIDED, f"{method.name} does not arrive, so it has no exponent")
        low, high = family.predicted - 0.1, family.predicted + 0.1
        parts.append(
            slope(
                family.dims,
                steps,
                low=low,
                high=high,
                label=family.name,
                predicted=family.predicted,
                variable="d",
                quantity="steps",
            )
        )
    if lab.level == "full":  # 8 seeds of 9000 steps in dimension 10000: one seed alone leaves the drift open now and then
        parts.append(_rate(lab, method, 1.0))
    return together(*parts, label="steps of gradient descent", panels=parts[-1].panels)


@claim(
    PAPER,
    source="B4 (Theorem 4.1, form recalled)",
    kind="rate",
    statement=r"T_{\mathrm{AdaGrad}}(d)\sim d^{\,0}\quad\text{at fixed }\|L\|_1D_\infty^2/(f(w_1)-f^*)",
    bound="4*L_1norm*D_inf_0**2/T",
    assumptions="The families of gradient descent, axis-aligned, eps = 0, best step size on a grid of half octaves around D_inf.",
    controls=[
        Control({"rotate": True}, "a rotated Hessian is not axis-aligned: the steps grow with d"),
        Control({"fault": True}, "dividing by v instead of its root reaches the cap"),
        Control({"eps": 1.0}, "eps = 1 dominates the small gradients of a high dimension: exponent 1"),
    ],
)
def adagrad_does_not_pay_for_dimension(lab: Lab, rotate: bool = False, fault: bool = False, eps: float = 0.0) -> Finding:
    """AdaGrad takes the same few steps in every dimension: 1 on the power laws, 3 with head and bulk."""
    name, extra = ("faulty_adagrad", {"fault": "no_root"}) if fault else ("adagrad", {})
    method = algorithm(name, lr=half_octaves("D_inf_0", -5, 3) if rotate else _GRID, eps=eps, **extra)
    if rotate:
        return _slope_of_rotated(lab, method, -0.1, 0.1)
    if fault or eps:
        dims = lab.pick(quick=_F2.dims[:2], full=_F2.dims) if fault else _F2.dims  # the cap is reached everywhere
        steps = _fastest(_F2, _traces(lab, _F2, method, dims, 1)).mean(axis=0)
        return slope(dims, steps, low=-0.1, high=0.1, label=_F2.name, predicted=0.0, variable="d", quantity="steps")
    parts = []
    for family, expected in zip(_FAMILIES, (1, 1, 3), strict=True):
        traces = _traces(lab, family, method, family.dims, lab.runs(lab.pick(quick=2, full=5)))
        steps = _fastest(family, traces)
        parts += [
            slope(
                family.dims,
                steps.mean(axis=0),
                low=-0.1,
                high=0.1,
                label=family.name,
                predicted=0.0,
                variable="d",
                quantity="steps",
            ),
            band(float(steps.max()), expected - 1, expected + 1, label=f"{family.name}: most steps", predicted=expected),
            band(_best_inside_grid(family, traces), low=1.0, label=f"{family.name}: runs whose best step is inside the grid"),
        ]
        if worst([part.verdict for part in parts]) is Verdict.VIOLATED:
            return together(*parts, label="steps of AdaGrad")  # a method that does not arrive would go up to the cap, for hours
    parts.append(_rate(lab, method, 0.0))
    table, panel = _comparison(lab)
    return together(*parts, label="steps of AdaGrad", panels=(panel, *parts[-1].panels), tables=(table,))


@claim(
    PAPER,
    source="B9 (1), B4 (measured on the paper's geometry)",
    kind="separation",
    statement=r"H=Q\,\mathrm{diag}(L)\,Q^\top,\ Q\ \text{Haar}:\qquad T_{\mathrm{AdaGrad}}(d)\sim d^{\,p},\ p\ge0.7",
    assumptions="Head and bulk, Hessian and starting error turned by one random orthogonal matrix, d = 64..512.",
    controls=[Control({"rotation": None}, "with the axes aligned the exponent is 0")],
)
def rotation_brings_dimension_back(lab: Lab, rotation: str | None = "random") -> Finding:
    """AdaGrad's independence of the dimension is a property of the axes: a rotation takes it away."""
    method = algorithm("adagrad", lr=half_octaves("D_inf_0", -5, 3))
    return _slope_of_rotated(lab, method, 0.7, inf, rotation)


def _rate(lab: Lab, method: Spec, claimed: float) -> Finding:
    """The verdict rule over two decades of the bulk's size d - 8; a run is deterministic, a seed is a spectrum and a start.

    In d itself the 8 coordinates of the head would bend the line: d/(d - 8) is the local slope of d - 8.
    """
    dims = tuple(_HEAD + size for size in _BULKS)
    steps = _fastest(_F2, _traces(lab, _F2, method, dims, lab.runs(8), cap=12_000))
    return exponent(_BULKS, steps, claim=claimed, label="head and bulk, d = 108..10008", variable="d - 8", quantity="steps")


def _slope_of_rotated(lab: Lab, method: Spec, low: float, high: float, rotation: str | None = "random") -> Finding:
    family = _F2._replace(settings={**_F2.settings, "rotation": rotation}, dims=(64, 128, 256, 512))
    steps = _fastest(family, _traces(lab, family, method, family.dims, lab.runs(lab.pick(quick=1, full=4))))
    return slope(
        family.dims, steps.mean(axis=0), low=low, high=high, label=f"rotation {rotation}", variable="d", quantity="steps"
    )


def _best_inside_grid(family: Family, traces: list[Trace]) -> float:
    """The share of runs with a best step size that is not at an end of the grid."""
    inside = []
    for trace in traces:
        counts = np.where(np.isnan(count := steps_to(family.accuracy).read(trace)), inf, count)
        inside.append(counts[1:-1].min(axis=0) <= counts.min(axis=0))
    return float(np.mean(inside))


def _comparison(lab: Lab) -> tuple[Table, Panel]:
    """The paper's comparison of methods: predicted, bound's and measured exponents side by side, and a figure of the steps."""
    methods = {
        "gradient_descent": _GD,
        "adagrad_norm": algorithm("adagrad_norm", lr=half_octaves("D_2_0", -3, 3)),
        "adagrad": _ADAGRAD,
    }
    rows, curves = [], {}
    for family in _FAMILIES:
        for name, method in methods.items():
            traces = _traces(lab, family, method, family.dims, 1)
            steps = _fastest(family, traces).mean(axis=0)
            curves[name] = Series(name, tuple(map(float, family.dims)), tuple(steps.tolist()))
            bound = [float(np.mean(Bound(_BOUNDS[name])(t.constants) / t.constants["Delta_0"])) for t in traces]
            predicted = 0.0 if name == "adagrad" else family.predicted
            fitted = [slope(family.dims, values, label=name).measured for values in (bound, steps)]
            rows.append((family.name, name, predicted, *fitted, " ".join(f"{count:g}" for count in steps)))
    panel = Panel("Steps to accuracy 1e-3, head and bulk, best step size", "d", "steps", tuple(curves.values()))
    columns = ("family", "method", "predicted exponent", "exponent of the bound", "measured exponent", "steps at each d")
    title = "Exponent of the dimension in the number of steps (AdaGrad-Norm on the power laws depends on its grid)"
    return Table(title, columns, tuple(rows)), panel
