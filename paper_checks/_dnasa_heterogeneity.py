"""Agents with different functions on a network: what the moving average is for, and how long the network shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, Table, together
from theorysim.lab import Lab
from theorysim.model import Control
from theorysim.paper_checks._dnasa_paper import (
    BOUND,
    EXPLICIT,
    PAPER,
    SPREAD,
    Floats,
    instance,
    limit,
    means,
    network_cells,
    network_horizons,
    networks,
)
from theorysim.registry import claim


def _both(lab: Lab, graph: str, horizons: tuple[int, ...], zeta: float) -> tuple[Floats, Floats]:
    """A of D-NASA and of the method without moving average, over the horizons."""
    averaged = lab.run_all(network_cells(lab, graph, False, horizons, zeta))
    return means(averaged), means(lab.run_all(network_cells(lab, graph, False, horizons, zeta, alpha=1.0)))


@claim(
    PAPER,
    source=f"abstract: moving-average tracking (source); what it is for derived, {EXPLICIT}",
    kind="separation",
    statement=r"\frac1n\sum_i\frac{\nabla f_i(x)}{\|\nabla f_i(x)\|}\not\parallel\nabla f(x):\qquad"
    r"\alpha=1\text{ keeps a bias},\quad\alpha=\sqrt{n/T}\text{ loses it}",
    assumptions="Hypercube of 16 agents, Metropolis weights, zeta = 20, L = sigma = 1, T = 1000, 4000, 16000; on the ring the "
    "ratio need only grow.",
    controls=[
        Control({"graph": "complete"}, "exact averages leave no heterogeneity: there the moving average only costs"),
        Control({"zeta": 0.0}, "agents with the same function have no bias to lose"),
    ],
)
def moving_average_removes_heterogeneity(lab: Lab, graph: str = "hypercube", zeta: float = SPREAD) -> Finding:
    """Normalised steps alone keep a bias where agents differ; along moving averages they lose it."""
    usual = (graph, zeta) == ("hypercube", SPREAD)
    horizons = (1000, 4000, 16_000) if usual else (250, 1000)
    averaged, alone = _both(lab, graph, horizons, zeta)
    ratio, times = alone / averaged, tuple(map(float, horizons))
    parts = [
        band(ratio[-1], low=3.0, label=f"{graph}, T = {horizons[-1]}: A without average / A"),
        band(ratio[1:] / ratio[:-1], low=1.1, label=f"{graph}: growth of that ratio, from one T to the next"),
        band(np.diff(np.log(alone)) / np.diff(np.log(times)), low=-0.15, label=f"{graph}: local exponents without average"),
    ]
    if usual:
        ring = lab.pick(quick=(1000, 4000), full=(1000, 4000, 16_000, 64_000))
        with_average, without = _both(lab, "ring", ring, zeta)
        growth = np.diff(without / with_average) / (without / with_average)[:-1]
        parts.append(band(growth, low=0.02, label="ring: growth of that ratio less 1, from one T to the next"))
    curves = (Series("D-NASA", times, tuple(averaged)), Series("without moving average", times, tuple(alone)))
    panel = Panel(f"What the moving average is for ({graph})", "T", "A, mean gradient norm", curves)
    return together(*parts, label="with and without moving average", panels=(panel,))


# ------------------------------------------------------------------------------------------------ transient
_LEADING = "(Delta_0 + sqrt(2)*sigma + 2*L)/(m*T)**(1/4)"
_NETWORK = "2*k*(zeta + sigma)*sqrt(m/T)"
_TRANSIENT = "m**3*(2*k*(zeta + sigma)/(Delta_0 + sqrt(2)*sigma + 2*L))**4"
_SCHEDULED = BOUND.replace("alpha", "sqrt(m/T)").replace("gamma", "(m**(1/4)/T**(3/4))")
_LATE = 1e8  # transient times after which the network term is 1 % of the leading one


def _constants(lab: Lab, graph: str, lazy: bool) -> dict[str, Any]:
    known = lab.build(instance(16, graph, lazy=lazy, sigma=1.0, zeta=SPREAD)).constants
    values = {name: float(np.ravel(value)[0]) for name, value in known.items()}
    return values | {"k": values["rho"] / (1 - values["rho"])}


@claim(
    PAPER,
    source=f"derived (the paper's own statement was not read), {EXPLICIT}",
    kind="threshold",
    statement=r"2k(\zeta+\sigma)\sqrt{\frac nT}\le\frac{\Delta+\sqrt2\,\sigma+2L}{(nT)^{1/4}}\iff"
    r"T\ge n^3\Big(\frac{2k(\zeta+\sigma)}{\Delta+\sqrt2\,\sigma+2L}\Big)^4",
    bound=_TRANSIENT,
    assumptions="Ring and hypercube of 16 agents (full: also lazy), zeta = 20, L = sigma = 1. All runs are shorter than the "
    "transient: their own exponents are shown, not judged.",
    controls=[
        Control({"transient": _TRANSIENT.replace("m**3", "m")}, "the square root of the agents in alpha left out of the count"),
        Control({"transient": _TRANSIENT.replace("**4", "**3")}, "(1 - rho)^(-3) in place of (1 - rho)^(-4)"),
    ],
)
def network_shows_before_the_transient(lab: Lab, transient: str = _TRANSIENT) -> Finding:
    """Before the transient time the bound falls as T^(-1/2), being the network's; afterwards the network does not matter."""
    horizons, rows, curves = network_horizons(lab), [], []
    even, early, late, fall, used = ([] for _ in range(5))
    for name, (graph, lazy) in networks(lab).items():
        known, times = _constants(lab, graph, lazy), np.array(horizons, dtype=float)
        traces = lab.run_all(network_cells(lab, graph, lazy, horizons))
        found, after, limits = means(traces), float(Bound(transient)(known)), np.array([limit(trace) for trace in traces])
        even.append(Bound(_NETWORK)({**known, "T": after}) / Bound(_LEADING)({**known, "T": after}))
        early.append(Bound(_SCHEDULED).exponent("T", {**known, "T": times}))
        late.append(Bound(_SCHEDULED).exponent("T", {**known, "T": _LATE * after}))
        fall.append(found[1:] / found[:-1])
        used.append(found / limits)
        own = np.diff(np.log(found)) / np.diff(np.log(times))
        rows += list(zip([name] * len(times), horizons, found, found / limits, (np.nan, *own), [after] * len(times), strict=True))
        curves.append(Series(name, tuple(times), tuple(found)))
    parts = [
        band(even, 1 - 1e-9, 1 + 1e-9, label="network term / leading term at the transient time", predicted=1.0),
        band(np.array(early), -0.56, -0.44, label="exponents of the bound before", predicted=-0.5),
        band(np.array(late), -0.26, -0.25 + 1e-6, label=f"exponent of the bound {_LATE:g} times later", predicted=-0.25),
        band(np.array(fall), 0.0, 0.95, label="measured: A falls from one T to the next"),
        band(np.array(used), 0.0, 1.0, label="measured: A / bound", predicted=1.0),
    ]
    columns = ("network", "T", "A", "A / bound", "local exponent", "transient time")
    panel = Panel("Before the transient", "T", "A, mean gradient norm", tuple(curves))
    return together(*parts, label="transient", panels=(panel,), tables=(Table("Networks", columns, tuple(rows)),))
