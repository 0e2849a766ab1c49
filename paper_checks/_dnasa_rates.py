"""Rates on the complete graph: the fourth root of the horizon, and a linear speed-up in the number of agents."""

from __future__ import annotations

from collections.abc import Sequence

from theorysim.analyses.slope import slope
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Control
from theorysim.paper_checks._dnasa_paper import (
    AGENTS,
    EXPLICIT,
    PAPER,
    Floats,
    agent_cells,
    horizon_cells,
    instance,
    means,
    run_cell,
)
from theorysim.paper_checks._dnasa_schedule import wrong
from theorysim.registry import claim
from theorysim.trace import Trace

_LIMITS = (-0.28, -0.22)
_RATE, _QUANTITY = -0.25, "A, mean gradient norm"


def _over_horizons(traces: Sequence[Trace], label: str) -> Finding:
    horizons = [float(trace.steps[-1]) for trace in traces]
    low, high = _LIMITS
    return slope(horizons, means(traces), low=low, high=high, label=label, predicted=_RATE, quantity=_QUANTITY)


@claim(
    PAPER,
    source=f"abstract: optimal rate of nonconvex stochastic optimization (source); exponent and constants derived, {EXPLICIT}",
    kind="rate",
    statement=r"\mathbb E A\lesssim\frac{\Delta+\sqrt2\,\sigma+2L}{(nT)^{1/4}}",
    assumptions="Complete graph, L = sigma = 1; m = 8, T = 1000 to 16000 (quick: 4000); full: also m = 16, T = 1000 to 64000.",
    controls=[Control({"alpha": 0.1}, "a moving average that does not grow longer with the horizon")],
)
def rate_in_the_horizon(lab: Lab, alpha: float | None = None) -> Finding:
    """The mean gradient norm falls as T^(-1/4), with steps that know nothing of the problem."""
    given = {} if alpha is None else {"alpha": alpha}
    found = _over_horizons(lab.run_all(horizon_cells(lab, **given)), "8 agents: exponent of T")
    if alpha is not None or lab.level == "quick":
        return found
    more = lab.run_all(run_cell(lab, instance(16, sigma=1.0), t) for t in (1000, 4000, 16_000, 64_000))
    return together(found, _over_horizons(more, "16 agents: exponent of T"), label="rate in the horizon", panels=found.panels)


@claim(
    PAPER,
    source=f"abstract: linear speed-up in the number of agents (source); exponent and constants derived, {EXPLICIT}",
    kind="rate",
    statement=r"\mathbb E A\lesssim(nT)^{-1/4},\qquad T\sim\frac1{n\,\varepsilon^4}",
    assumptions="Complete graph, L = 1, sigma = 4, T = 16000 (quick: 1000), m = 1, 4, 16, 64.",
    controls=[
        Control({"names": ("alpha without m",)}, "alpha = T^(-1/2): the average lags behind the longer steps of many agents"),
        Control({"names": ("alpha without m", "gamma without m")}, "neither alpha nor gamma grows with the agents"),
        Control({"names": ("gamma without m",)}, "too small an error for a slope to show; the schedule shows it", fires=False),
    ],
)
def linear_speed_up(lab: Lab, names: Sequence[str] = ()) -> Finding:
    """The mean gradient norm falls as the fourth root of the number of agents: n times as many need an n-th of the steps."""
    horizon, (low, high) = lab.pick(quick=1000, full=16_000), _LIMITS
    found: Floats = means(lab.run_all(agent_cells(lab, horizon, **wrong(1, horizon, names))))
    label = "exponent of the number of agents"
    return slope(AGENTS, found, low=low, high=high, label=label, predicted=_RATE, variable="m", quantity=_QUANTITY)
