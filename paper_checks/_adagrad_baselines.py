"""The methods the paper compares with, each with its own bound and explicit constants (section 3 of the derivation)."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._adagrad_paper import CONVEX, CONVEX_TERMS, PAPER
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

_HORIZONS = (1, 10, 100, 400)
# Pathwise forms for any step size: D is the largest distance on the run, D_2_0 the initial one, S the sum of |g_t|_2^2.
_BOUNDS = {
    "GD, f(w_{T+1})": "lambda_max*D_2_0**2/(2*T)",
    "GD, f(wbar)": "lambda_max*D_2_0**2/(2*T)",
    "AdaGrad-Norm, f(wbar)": "2*(D/(2*eta) + eta/D)**2*lambda_max*D**2/T + eps*D**2/(eta*T)",
    "AdaGrad, f(wbar)": CONVEX,
    "full-matrix AdaGrad, f(wbar)": "2*(D/(2*eta) + eta/D)**2*trace_H*D**2/T + eps*D**2/(eta*T)",
    "SGD, regret": "D_2_0**2/(2*eta) + eta/2*S",
    "AdaGrad-Norm, regret": "(D**2/(2*eta) + eta)*sqrt(S) + eps*D**2/(2*eta)",
    "full-matrix AdaGrad, regret": "(D**2/(2*eta) + eta)*R + eps*D**2/(2*eta)",
    "SGD, E f(wbar)": "2*lambda_max*D_2_0**2/T + 2*sigma_2norm*D_2_0/sqrt(M*T)",
    "AdaGrad-Norm, E f(wbar) in a box": "4*lambda_max*D_2**2/T + 2*sqrt(2)*sigma_2norm*D_2/sqrt(M*T)",
    "SGD, nonconvex, mean squared gradient": "2*lambda_max*Delta_0/T + sigma_2norm**2/M",
}
_STATEMENT = (
    r"\begin{array}{l}\text{GD: }\frac{\lambda D_{2,0}^2}{2T},\quad"
    r"\text{SGD: }\frac{2\lambda D_{2,0}^2}T+\frac{2\|\sigma\|_2D_{2,0}}{\sqrt{MT}},\\"
    r"\text{AdaGrad-Norm: }\frac{4\lambda D_2^2}T+\frac{2\sqrt2\|\sigma\|_2D_2}{\sqrt{MT}},\quad"
    r"\text{full matrix: }\frac{4\,\mathrm{tr}(H)D_2^2}T\end{array}"
)


@claim(
    PAPER,
    source="Section 3 (derived): the bounds of the compared methods",
    kind="upper",
    statement=_STATEMENT,
    bound="4*lambda_max*D_2**2/T + 2*sqrt(2)*sigma_2norm*D_2/sqrt(M*T)",
    assumptions="Quadratics with L_j = j^-a, a in {0, .5, 1, 2}, starts at equal, uniform and lognormal distances, with and "
    "without noise. Deterministic bounds and regrets: pathwise, measured distances; SGD, AdaGrad-Norm with noise: expectation.",
    controls=[Control({"factor": 0.5}, "gradient descent attains its bound after one step on a flat spectrum")],
)
def baseline_bounds(lab: Lab, factor: float = 1.0) -> Finding:
    """Each compared method stays below its own bound, with the same kind of constants as AdaGrad's."""
    parts = [
        *_without_noise(lab, factor),
        *_regrets(lab, factor),
        _sgd(lab, factor),
        _norm_in_a_box(lab, factor),
        _nonconvex(lab, factor),
    ]
    rows = tuple((part.label, part.measured) for part in parts)
    table = Table("Largest measured / bound of each method over all instances", ("method and quantity", "measured / bound"), rows)
    return together(*parts, label="bounds of the compared methods", panels=parts[0].panels, tables=(table,))


def _instances(lab: Lab, **settings: Any) -> list[Spec]:
    starts = lab.pick(quick=("signs", "lognormal"), full=("signs", "uniform", "lognormal"))
    decays = (0.0, 0.5, 1.0, 2.0)
    return [problem("anisotropic_quadratic", dim=12, decay=a, start=start, **settings) for a in decays for start in starts]


def _run(lab: Lab, method: Spec, measures: tuple[str, ...], instances: list[Spec]) -> list[Trace]:
    runs = lab.runs(lab.pick(quick=2, full=20))
    wrapped = algorithm("average", of=method)
    return lab.run_all(Cell(instance, wrapped, max(_HORIZONS), runs, measures, _HORIZONS) for instance in instances)


def _ratio(traces: list[Trace], of: str, name: str, factor: float, where: dict[str, Any]) -> Finding:
    return bound_ratio(traces, of=of, bound=f"{factor}*({_BOUNDS[name]})", where=where, label=name)


def _without_noise(lab: Lab, factor: float) -> list[Finding]:
    two = {"D": "max_distance:2", "eta": "lr", "eps": "eps"}
    grid: dict[str, Any] = {"eps": [0.0, 0.0, 0.01], "lr": ["D_2_0/sqrt(2)", "0.3*D_2_0", "2*D_2_0"]}
    plain = _instances(lab)
    descent = _run(lab, algorithm("gradient_descent", lr="1/lambda_max"), ("gap", "gap_iterate"), plain)
    norm = _run(lab, algorithm("adagrad_norm", **grid), ("gap", "max_distance:2"), plain)
    diagonal = _run(lab, algorithm("adagrad", lr="D_inf_0/sqrt(2)", eps=0.01), ("gap", "max_distance:inf"), plain)
    full = _run(lab, algorithm("full_matrix_adagrad", **grid), ("gap", "max_distance:2"), plain)
    return [
        _ratio(descent, "gap", "GD, f(wbar)", factor, {}),
        _ratio(descent, "gap_iterate", "GD, f(w_{T+1})", factor, {}),
        _ratio(norm, "gap", "AdaGrad-Norm, f(wbar)", factor, two),
        _ratio(diagonal, "gap", "AdaGrad, f(wbar)", factor, {**CONVEX_TERMS, "eps": "eps"}),
        _ratio(full, "gap", "full-matrix AdaGrad, f(wbar)", factor, two),
    ]


def _regrets(lab: Lab, factor: float) -> list[Finding]:
    """The nonsmooth forms: they hold for any gradients, so also with noise, on every run."""
    noisy = _instances(lab, noise=1.0, noise_law="spectrum")
    sgd = _run(lab, algorithm("sgd", lr=0.3), ("regret", "squared_gradients"), noisy)
    norm = _run(
        lab, algorithm("adagrad_norm", lr="D_2_0/sqrt(2)", eps=0.01), ("regret", "squared_gradients", "max_distance:2"), noisy
    )
    full = _run(
        lab, algorithm("full_matrix_adagrad", lr="D_2_0/sqrt(2)", eps=0.01), ("regret", "root_trace", "max_distance:2"), noisy
    )
    distances = {"D": "max_distance:2", "eta": "lr", "eps": "eps"}
    return [
        _ratio(sgd, "regret", "SGD, regret", factor, {"eta": "lr", "S": "squared_gradients"}),
        _ratio(norm, "regret", "AdaGrad-Norm, regret", factor, {**distances, "S": "squared_gradients"}),
        _ratio(full, "regret", "full-matrix AdaGrad, regret", factor, {**distances, "R": "root_trace"}),
    ]


def _sgd(lab: Lab, factor: float) -> Finding:
    """SGD with the prescribed step size, in expectation over the noise (the start is the same in every run)."""
    ratios = []
    for batch in (1, 16):
        for horizon in (100, 400):
            lr = f"Min(1/(2*lambda_max), D_2_0*sqrt(M)/(sigma_2norm*sqrt({horizon})))"
            instance = problem("anisotropic_quadratic", dim=50, noise=0.5, noise_law="spectrum", batch=batch)
            trace = lab.run(
                Cell(instance, algorithm("average", of=algorithm("sgd", lr=lr)), horizon, lab.runs(20), record="last")
            )
            ratios.append(_upper_mean(trace["gap"][:, -1]) / (factor * _bound("SGD, E f(wbar)", trace, T=horizon)))
    return band(ratios, high=1.0, label="SGD, E f(wbar), mean + 3 se", predicted=1.0)


def _norm_in_a_box(lab: Lab, factor: float) -> Finding:
    """AdaGrad-Norm with noise: a box makes D_2 known before the run."""
    dim, horizon, side = 50, 400, 1.9
    diameter, ratios = sqrt(dim) * side, []
    for batch in (1, 16):
        instance = problem(
            "anisotropic_quadratic",
            dim=dim,
            noise=0.5,
            noise_law="spectrum",
            batch=batch,
            start="uniform",
            normalize="inf",
            distance=side - 1,
            origin="start",
        )
        method = algorithm("average", of=algorithm("adagrad_norm", lr=diameter / sqrt(2), box=1.0))
        trace = lab.run(Cell(instance, method, horizon, lab.runs(20), record="last"))
        bound = _bound("AdaGrad-Norm, E f(wbar) in a box", trace, T=horizon, D_2=diameter)
        ratios.append(_upper_mean(trace["gap"][:, -1]) / (factor * bound))
    return band(ratios, high=1.0, label="AdaGrad-Norm, E f(wbar) in a box, mean + 3 se", predicted=1.0)


def _nonconvex(lab: Lab, factor: float) -> Finding:
    """SGD on a nonconvex function, eta = 1/lambda_max: mean squared gradient <= 2 Delta_0/(eta T) + eta lambda |sigma|_2^2/M."""
    instance = problem("separable_nonconvex", dim=50, noise=0.1, noise_law="spectrum", start="ones", distance=2.0)
    trace = lab.run(Cell(instance, algorithm("sgd", lr="1/lambda_max"), 400, lab.runs(20), ("mean_squared_gradient",), _HORIZONS))
    means = [_upper_mean(column) for column in trace["mean_squared_gradient"].T]
    bounds = [_bound("SGD, nonconvex, mean squared gradient", trace, T=horizon) for horizon in trace.steps.tolist()]
    ratio = np.array(means) / (factor * np.array(bounds))
    return band(ratio, high=1.0, label="SGD, nonconvex, mean squared gradient, mean + 3 se", predicted=1.0)


def _bound(name: str, trace: Trace, **values: float) -> float:
    """The bound in the problem's constants, which are the same in every run."""
    constants = {key: float(trace.constant(key)[0]) for key in trace.constants}
    return float(Bound(_BOUNDS[name])({**constants, **values}))


def _upper_mean(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(values.mean() + 3 * values.std(ddof=1) / sqrt(len(values)))
