"""The bound on the mean gradient norm, with every constant (D1), and instances on which each of its terms is needed."""

from __future__ import annotations

import numpy as np

from theorysim.analyses.band import band
from theorysim.findings import Finding, Panel, Series, together
from theorysim.lab import Lab
from theorysim.model import Control
from theorysim.paper_checks._dnasa_paper import (
    APART,
    BOUND,
    EXPLICIT,
    PAPER,
    STATEMENT,
    Floats,
    agent_cells,
    curvature_cells,
    horizon_cells,
    instance,
    limit,
    mean,
    means,
    network_cells,
    network_horizons,
    networks,
    run_cell,
    schedule,
    surely,
    without,
)
from theorysim.registry import claim
from theorysim.trace import Trace

_TIGHTNESS = {"over T": (0.29, 0.34), "over m": (0.19, 0.27), "over L": (0.05, 0.34), "networks": (0.002, 0.06)}


def _traces(lab: Lab) -> dict[str, list[Trace]]:
    cells = {
        "over T": horizon_cells(lab),
        "over m": agent_cells(lab, lab.pick(quick=1000, full=16_000)),
        "over L": curvature_cells(lab),
        "networks": [cell for each in networks(lab).values() for cell in network_cells(lab, *each, network_horizons(lab))],
    }
    traces = iter(lab.run_all(cell for group in cells.values() for cell in group))
    return {name: [next(traces) for _ in group] for name, group in cells.items()}


def _demanding(lab: Lab) -> list[Trace]:
    """Steps of other sizes, each of which needs one term of the bound: an average that lags behind; noise, and differences
    between the agents, without an average."""
    still, loud = instance(4, quadratic=True), instance(1, quadratic=True, sigma=10.0)
    return lab.run_all(
        [
            run_cell(lab, still, 400, 1, alpha=0.01, gamma=0.05),
            run_cell(lab, loud, 400, 8, alpha=1.0, gamma=0.05),
            run_cell(lab, instance(16, "hypercube", zeta=20.0), 1000, 1, alpha=1.0, gamma=0.002),
        ]
    )


@claim(
    PAPER,
    source=f"derived (the paper's theorem was not read), {EXPLICIT}",
    kind="upper",
    statement=STATEMENT,
    bound=BOUND,
    assumptions="Mean over runs plus three standard errors. Complete graph: T = 1000 to 16000 (quick: 4000), m = 1 to 64, "
    "L = 0.01 to 1000 (quadratic); ring and hypercube of 16 agents with zeta = 20; and steps of other sizes.",
    controls=[
        Control({"bound": without("descent")}, "the start need not be left: far away the gradient stays"),
        Control({"bound": without("noise")}, "no noise of the moving average: directions of pure noise make no progress"),
        Control({"bound": without("drift")}, "no drift: a long average lags behind and the iterates swing"),
        Control({"bound": without("network")}, "no heterogeneity: a network does not average the agents' gradients at once"),
    ],
)
def gradient_bound(lab: Lab, bound: str = BOUND) -> Finding:
    """The mean gradient norm is below the bound on every instance, with any steps."""
    groups, steep = _traces(lab), _demanding(lab)
    parts = [_kept(traces, bound, f"{name}: (A + 3 standard errors) / bound") for name, traces in groups.items()]
    far = [run_cell(lab, instance(4, quadratic=True), t, 1, alpha=1.0, gamma=1 / t) for t in (2, 8, 32, 500)]
    line = lab.run_all(far)
    parts += [_kept(steep, bound, "steps of other sizes: A / bound"), _kept(line, bound, "on a line: A / bound")]
    if bound != BOUND:
        return together(*parts, label="bound on the mean gradient norm")
    for name, (low, high) in _TIGHTNESS.items():
        ratio = means(groups[name]) / [limit(trace) for trace in groups[name]]
        parts.append(band(ratio, low, high, label=f"{name}: how much of the bound is used"))
    parts += [_on_a_line(line), _one_step(lab), _consensus(groups["networks"])]
    return together(*parts, label="bound on the mean gradient norm", panels=(_panel(groups),))


def _kept(traces: list[Trace], bound: str, label: str) -> Finding:
    return band([surely(trace) / limit(trace, bound) for trace in traces], 0.0, 1.0, label=label, predicted=1.0)


def _on_a_line(traces: list[Trace]) -> Finding:
    """f = |x|^2/2 from a distance of 1, exact gradients, alpha = 1, gamma = 1/T: straight to the minimum, so A = (T + 1)/(2T),
    and the bound is (T + 5)/(2T): it cannot be improved by a factor. [derived]"""
    found = [mean(trace) / limit(trace) * (trace.steps[-1] + 5) / (trace.steps[-1] + 1) for trace in traces]
    return band(found, 1 - 1e-9, 1 + 1e-9, label="on a line: A / bound, over (T + 1)/(T + 5)", predicted=1.0)


def _one_step(lab: Lab) -> Finding:
    """T = alpha = gamma = L = 1, |x_0| = 1: A = |x_0|, and all terms of the bound are of the same order. [derived]"""
    found = []
    for graph, sigma, zeta in (("complete", 0.5, 2.0), ("ring", 0.5, 2.0), ("hypercube", 3.0, 0.0)):
        where = instance(16, graph, quadratic=True, sigma=sigma, zeta=zeta)
        trace = lab.run(run_cell(lab, where, 1, 2, alpha=1.0, gamma=1.0))
        k = float(trace.constant("rho")[0] / (1 - trace.constant("rho")[0]))
        found.append(mean(trace) / limit(trace) * (3 + 2 * k + 2 * k**2 + sigma + 2 * (1 + 2 * k) * (zeta + sigma)))
    label = "one step: A / bound, over its closed form"
    return band(found, 1 - 1e-9, 1 + 1e-9, label=label, predicted=1.0)


def _consensus(traces: list[Trace]) -> Finding:
    """The root mean square of |x_i - xbar| is at most gamma k: with one step gamma, rho (D + gamma) remains of D. [derived]"""
    found = []
    for trace in traces:
        m, rho = int(trace.constant("m")[0]), trace.constant("rho")[0]
        allowed = schedule(m, int(trace.steps[-1]))[1] * rho / (1 - rho)
        found.append(trace[APART][:, -1].max() / np.sqrt(m) / allowed)
    return band(found, 1e-6, 1 + 1e-9, label="networks: disagreement of the agents / (gamma k)", predicted=1.0)


def _panel(groups: dict[str, list[Trace]]) -> Panel:
    def ratio(traces: list[Trace]) -> Floats:
        return np.array([mean(trace) / limit(trace) for trace in traces])

    curves: dict[str, list[Trace]] = {"complete": groups["over T"]}
    for trace in groups["networks"]:
        given = trace.cell.problem.arguments
        curves.setdefault(f"{given['graph']}{', lazy' if given['lazy'] else ''}", []).append(trace)
    series = [
        Series(name, tuple(float(trace.steps[-1]) for trace in traces), tuple(ratio(traces))) for name, traces in curves.items()
    ]
    ends = (series[0].x[0], max(each.x[-1] for each in series))
    return Panel("How much of the bound is used", "T", "A / bound", (*series, Series("the bound", ends, (1.0, 1.0), "bound")))
