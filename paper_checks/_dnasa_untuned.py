"""One schedule for curvatures that differ by a factor of 1e5, and what a constant step does there."""

from __future__ import annotations

import math

import numpy as np

from theorysim.analyses.band import band
from theorysim.findings import Finding, Panel, Series, together
from theorysim.lab import Lab
from theorysim.model import Control
from theorysim.paper_checks._dnasa_paper import (
    CURVATURES,
    D_NASA,
    D_SGD,
    EXPLICIT,
    PAPER,
    curvature_cells,
    instance,
    limit,
    means,
    sgd_cell,
    surely,
    untuned_horizon,
)
from theorysim.registry import claim

_AGENTS = 8


@claim(
    PAPER,
    source=f"abstract: no knowledge of any problem parameter (source); bound derived, {EXPLICIT}",
    kind="upper",
    statement=r"\alpha,\gamma\text{ the same for all }L:\qquad\frac{\mathbb E A}L\ \text{falls with}\ L,\qquad"
    r"\mathbb E A\lesssim\frac{\Delta+\sqrt2\,\sigma+2L}{(nT)^{1/4}}",
    assumptions="Quadratic variant, 8 agents, complete graph, sigma = 1, T = 4000 (quick: 1000), L = 0.01 to 1000.",
    controls=[Control({"name": D_SGD}, "SGD with the step sqrt(m/T), which knows nothing either, diverges for L > 2 sqrt(T/m)")],
)
def no_constant_is_needed(lab: Lab, name: str = D_NASA) -> Finding:
    """The same steps work for every smoothness constant."""
    horizon = untuned_horizon(lab)
    where = [instance(_AGENTS, sigma=1.0, L=value, quadratic=True) for value in CURVATURES]
    cells = curvature_cells(lab) if name == D_NASA else [sgd_cell(lab, each, horizon) for each in where]
    traces = lab.run_all(cells)
    relative = means(traces) / CURVATURES
    with np.errstate(invalid="ignore", over="ignore"):
        growth = relative[1:] / relative[:-1]
    parts = [band(growth, 0.0, 1 + 1e-9, label="A / L: largest growth from one L to the next")]
    if name == D_NASA:
        kept = [surely(trace) / limit(trace) for trace in traces]
        parts.append(band(kept, 0.0, 1.0, label="(A + 3 standard errors) / bound", predicted=1.0))
        parts.append(band(relative[-1], 0.0, 0.2, label=f"A / L at L = {CURVATURES[-1]:g}: the start of 1 is left"))
    curve = Series(name, CURVATURES, tuple(np.minimum(np.nan_to_num(relative, nan=np.inf), 1e300)))
    panel = Panel("One schedule for every L", "L", "A / L", (curve,))
    return together(*parts, label="no constant is needed", panels=(panel,))


@claim(
    PAPER,
    source=f"derived (what the abstract sets itself off against), {EXPLICIT}",
    kind="threshold",
    statement=r"x\leftarrow W\big(x-\sqrt{n/T}\,g\big):\qquad L<2\sqrt{T/n}\ \text{converges},\ L>2\sqrt{T/n}\ \text{diverges}",
    assumptions="Quadratic variant, 8 agents, complete graph, sigma = 1, T = 4000 (quick: 1000); L within 2 % on both sides.",
    controls=[
        Control({"factor": 0.5}, "half the step is stable up to twice the curvature"),
        Control({"quadratic": False}, "gradients of the nonconvex functions are bounded: a step of any length stays finite"),
    ],
)
def constant_steps_need_the_curvature(lab: Lab, factor: float = 1.0, quadratic: bool = True) -> Finding:
    """SGD with the step sqrt(m/T) works below a curvature of 2 sqrt(T/m) and explodes above it."""
    horizon = untuned_horizon(lab)
    edge = 2 * math.sqrt(horizon / _AGENTS)
    below, above = lab.pick(quick=([0.98], [1.02]), full=([10 / edge, 44 / edge], [45 / edge, 46 / edge]))
    values = [edge * share for share in (*below, *above)]
    where = [instance(_AGENTS, sigma=1.0, L=value, quadratic=quadratic) for value in values]
    found = means(lab.run_all(sgd_cell(lab, each, horizon, factor) for each in where)) / values
    parts = [
        band(found[: len(below)], 0.0, 0.2, label=f"A / L, L up to {values[len(below) - 1]:.4g}"),
        band(
            np.nan_to_num(found[len(below) :], nan=np.inf, posinf=1e300),
            low=1e6,
            label=f"A / L from L = {values[len(below)]:.4g} on",
        ),
    ]
    return together(*parts, label="constant steps")
