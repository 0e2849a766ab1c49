"""Problem-parameter-free decentralized nonconvex stochastic optimization: the paper, the bound, and what several claims share.

Letters: m agents (the paper's n) minimise f = mean of f_i, each L-smooth, with stochastic gradients of standard deviation sigma
at most; zeta: root mean square of |grad f_i - grad f|, Delta_0 = f(x_0) - inf f. W: symmetric, doubly stochastic, rho the
largest modulus of its eigenvalues but one, k = rho/(1 - rho). D-NASA: x_i <- sum_j W_ij (x_j - gamma z_j/|z_j|), z_i <- sum_j
W_ij ((1 - alpha) z_j + alpha g_j), with both z the old one, alpha = min(1, sqrt(m/T)), gamma = m^(1/4)/T^(3/4) for T steps:
nothing of the problem. A: the mean of |grad f| at the agents' mean before each of the T steps.

The abstract and the authors' public code were read, the theorems were not: the bound and its constants are derived.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.bounds import Bound
from theorysim.lab import Lab
from theorysim.model import Cell, Paper, Spec
from theorysim.registry import algorithm, problem
from theorysim.trace import Trace

Floats = NDArray[np.float64]

PAPER = Paper(
    name="dnasa",
    title="Problem-Parameter-Free Decentralized Nonconvex Stochastic Optimization",
    authors="Jiaxiang Li, Xuxing Chen, Shiqian Ma, Mingyi Hong",
    year=2024,
    venue="arXiv preprint",
    arxiv="2402.08821",
    summary="Normalised steps along moving averages, whose sizes need no constant of the problem or of the network: the rate of "
    "nonconvex stochastic optimization, with a linear speed-up in the number of agents.",
    bibtex="""@misc{li2024problem,
  title         = {Problem-Parameter-Free Decentralized Nonconvex Stochastic Optimization},
  author        = {Jiaxiang Li and Xuxing Chen and Shiqian Ma and Mingyi Hong},
  year          = {2024},
  eprint        = {2402.08821},
  archivePrefix = {arXiv}
}""",
)
EXPLICIT = "our explicit version of the claim"
AVERAGE, APART = "mean_gradient_norm:2", "disagreement"
D_NASA, D_SGD = "d_nasa", "d_sgd"
ERRORS = 3.0  # standard errors that are added to a mean before it is compared with a bound

# ------------------------------------------------------------------------------------------------ the bound
TERMS = {
    "descent": "Delta_0/(gamma*T)",
    "curvature": "L*gamma/2",
    "noise": "2*sigma*sqrt(alpha/((2 - alpha)*m))",
    "start": "2*sigma/(sqrt(m)*alpha*T)",
    "drift": "2*L*gamma/alpha",
    "consensus": "2*L*gamma*k",
    "network": "2*alpha*k*(zeta + sigma + L*gamma*k)",
    "first": "2*(zeta + sigma)*(1 + k)/T",
}
BOUND = " + ".join(TERMS.values())
STATEMENT = (
    r"\mathbb E A\le\frac{\Delta}{\gamma T}+\frac{L\gamma}2+2\Big[\sigma\sqrt{\tfrac{\alpha}{(2-\alpha)n}}"
    r"+\frac{\sigma}{\sqrt n\,\alpha T}+\frac{L\gamma}\alpha+L\gamma k+\alpha k(\zeta+\sigma+L\gamma k)"
    r"+\frac{(\zeta+\sigma)(1+k)}T\Big],\qquad k=\frac\rho{1-\rho}"
)


def without(term: str) -> str:
    """The bound without one of its terms."""
    return " + ".join(text for name, text in TERMS.items() if name != term)


def schedule(m: int, horizon: int) -> tuple[float, float]:
    """alpha and gamma."""
    return min(1.0, math.sqrt(m / horizon)), m**0.25 / horizon**0.75


def limit(trace: Trace, bound: str = BOUND) -> float:
    """``bound`` on the instance of a trace after its last step, with the alpha and the gamma of its algorithm."""
    known: dict[str, Any] = {name: float(trace.constant(name)[0]) for name in trace.constants}
    steps = int(trace.steps[-1])
    alpha, gamma = schedule(int(known["m"]), steps)
    given = trace.cell.algorithm.arguments
    known |= {"alpha": given.get("alpha", alpha), "gamma": given.get("gamma", gamma), "T": float(steps)}
    return float(Bound(bound)(known | {"k": known["rho"] / (1 - known["rho"])}))


def mean(trace: Trace) -> float:
    """The mean over runs of A; not finite where a run diverged."""
    return float(trace[AVERAGE][:, -1].mean())


def surely(trace: Trace) -> float:
    """The same with three standard errors added, which a trajectory without noise does not have."""
    values = trace[AVERAGE][:, -1]
    spread = 0.0 if trace.constant("sigma")[0] == 0 else float(values.std(ddof=1)) if len(values) > 1 else math.inf
    return float(values.mean() + ERRORS * spread / math.sqrt(len(values)))


def means(traces: Sequence[Trace]) -> Floats:
    return np.array([mean(trace) for trace in traces])


# ------------------------------------------------------------------------------------------------ instances and cells
def instance(m: int = 8, graph: str = "complete", **params: Any) -> Spec:
    """The smooth nonconvex functions of m agents; a complete graph takes exact averages, rho = 0."""
    return problem("decentralized_nonconvex", m=m, graph=graph, **{"lazy": False, **params})


def run_cell(lab: Lab, where: Spec, horizon: int, runs: int = 8, **params: Any) -> Cell:
    """D-NASA for ``horizon`` steps, and A."""
    return _cell(where, algorithm(D_NASA, horizon=horizon, **params), horizon, lab.runs(runs))


def sgd_cell(lab: Lab, where: Spec, horizon: int, factor: float = 1.0, runs: int = 2) -> Cell:
    """D-SGD with the step sqrt(m/T), which needs no constant of the problem either, times a factor."""
    return _cell(where, algorithm(D_SGD, lr=f"{factor}*sqrt(m/{horizon})"), horizon, lab.runs(runs))


def _cell(where: Spec, method: Spec, horizon: int, runs: int) -> Cell:
    return Cell(where, method, horizon, runs, (AVERAGE, APART), (horizon,))


# ------------------------------------------------------------------------------------------------ the sweeps that claims share
AGENTS = (1, 4, 16, 64)
CURVATURES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
NETWORKS = {"ring": ("ring", False), "ring, lazy": ("ring", True), "hypercube": ("hypercube", False)}
NETWORKS |= {"hypercube, lazy": ("hypercube", True)}
SPREAD = 20.0  # zeta on networks


def horizon_cells(lab: Lab, **params: Any) -> list[Cell]:
    """T grows: 8 agents, complete graph, L = sigma = 1."""
    horizons = lab.pick(quick=(1000, 2000, 4000), full=(1000, 2000, 4000, 8000, 16_000))
    return [run_cell(lab, instance(8, sigma=1.0), t, **params) for t in horizons]


def agent_cells(lab: Lab, horizon: int, **params: Any) -> list[Cell]:
    """m grows: complete graph, L = 1, sigma = 4. One agent alone averages over no others, so it takes more runs."""
    return [run_cell(lab, instance(m, sigma=4.0), horizon, 16 if m == 1 else 4, **params) for m in AGENTS]


def curvature_cells(lab: Lab) -> list[Cell]:
    """L grows: the quadratic variant, 8 agents, complete graph, sigma = 1, one schedule."""
    horizon = untuned_horizon(lab)
    return [run_cell(lab, instance(8, sigma=1.0, L=value, quadratic=True), horizon) for value in CURVATURES]


def untuned_horizon(lab: Lab) -> int:
    return lab.pick(quick=1000, full=4000)


def network_cells(lab: Lab, graph: str, lazy: bool, horizons: Sequence[int], zeta: float = SPREAD, **params: Any) -> list[Cell]:
    """T grows on a network of 16 agents, L = sigma = 1."""
    where = instance(16, graph, lazy=lazy, sigma=1.0, zeta=zeta)
    return [run_cell(lab, where, t, 4, **params) for t in horizons]


def network_horizons(lab: Lab) -> tuple[int, ...]:
    return lab.pick(quick=(1000, 4000), full=(1000, 4000, 16_000, 64_000))


def networks(lab: Lab) -> dict[str, tuple[str, bool]]:
    """The networks of a level, by name: the graph, and whether W is (I + W_0)/2."""
    return lab.pick(quick={name: each for name, each in NETWORKS.items() if not each[1]}, full=NETWORKS)
