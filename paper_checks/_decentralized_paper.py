"""Decentralized finite sums with better dependence on condition numbers: the paper, and what several claims share.

Letters: m agents hold n components each, N = m n, f = mean of all f_ij, each convex and L_ij-smooth, f mu-strongly convex. L_g:
smoothness of f, kappa_g = L_g/mu; L_s = max L_ij/(N q_ij) for sampling with chances q_ij, kappa_s = L_s/mu; L_loc: largest
smoothness of an f_i, the mean of the components of agent i. b: components drawn a step from the pool of all N; p: chance of a
new snapshot. W: symmetric, doubly stochastic, lambda_2 its second largest eigenvalue, gamma = 1 - lambda_2; K: rounds of
accelerated gossip for every variable that is mixed. T: first step t with E|X_t - 1x*|_F^2 <= eps |X_0 - 1x*|_F^2, X the points of
all agents. Spent until then: component gradients of all agents; computation time, which counts those of the slowest agent of
each step; rounds of communication.

The abstract was read, and the public code of a sibling paper of the same group; the algorithms are reconstructed from those, and
all theorems and their constants are derived for this check: none of them is the paper's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.bounds import Bound
from theorysim.gossip import contraction
from theorysim.lab import Lab
from theorysim.model import Cell, Paper, Spec
from theorysim.registry import algorithm, problem
from theorysim.trace import Trace

Floats = NDArray[np.float64]

PAPER = Paper(
    name="decentralized_finite_sum",
    title="Decentralized Convex Finite-Sum Optimization with Better Dependence on Condition Numbers",
    authors="Yuxing Liu, Lesi Chen, Luo Luo",
    year=2024,
    venue="ICML 2024, PMLR 235",
    summary="Variance-reduced methods of agents that draw their batches from one pool: computation time that depends on the "
    "global condition number, not on those of the agents, and communication as cheap as accelerated gossip allows.",
    bibtex="""@inproceedings{liu2024decentralized,
  title     = {Decentralized Convex Finite-Sum Optimization with Better Dependence on Condition Numbers},
  author    = {Liu, Yuxing and Chen, Lesi and Luo, Luo},
  booktitle = {Proceedings of the 41st International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {235},
  year      = {2024}
}""",
)
EXPLICIT = "our explicit version of the claim"

# ------------------------------------------------------------------------------------------------ instances
GRAPHS = ("ring", "path", "star", "torus", "hypercube", "complete")


def pool(dim: int = 8, kappa: float = 100.0, spectrum: str = "two", m: int = 1, n: int = 512, **params: Any) -> Spec:
    """N = m n components, all in one place unless m is given."""
    return problem(
        "decentralized_quadratic", dim=dim, kappa=kappa, spectrum=spectrum, m=m, n=n, **{"placement": "sorted", **params}
    )


def network(graph: str = "ring", kappa: float = 100.0, m: int = 16, n: int = 32, **params: Any) -> Spec:
    """Sorted components, two curvatures, lazy Metropolis weights."""
    return pool(kappa=kappa, m=m, n=n, graph=graph, **params)


# ------------------------------------------------------------------------------------------------ methods
SVRG_STEP = "1/(L_g + 6*L_s/{})"


def chance_of(batch: int) -> str:
    """p = b/N, at most 1/2."""
    return f"Min(1/2, {batch}/N)"


def svrg(batch: int, **params: Any) -> Spec:
    return algorithm("l_svrg", **{"batch": batch, "chance": chance_of(batch), "lr": SVRG_STEP.format(batch), **params})


def katyusha(batch: int, **params: Any) -> Spec:
    return algorithm("katyusha", **{"batch": batch, "chance": chance_of(batch), **params})


def dec_svrg(rounds: int, batch: int = 64, **params: Any) -> Spec:
    given = {"batch": batch, "chance": chance_of(batch), "lr": SVRG_STEP.format(batch), **params}
    return algorithm("dec_lsvrg", rounds=rounds, **given)


def dec_katyusha(rounds: int, batch: int = 64, **params: Any) -> Spec:
    return algorithm("dec_lkatyusha", rounds=rounds, **{"batch": batch, "chance": chance_of(batch), **params})


KATYUSHA_RATE = "1/Max(1 + sqrt(2*kappa_g + 4*kappa_s/(b*p)), 4, 2/p)"  # tau
SVRG_RATE = "1/Max(kappa_g + 6*kappa_s/b, 2/p)"


def rate(where: Spec, text: str, batch: int, lab: Lab, **more: float) -> float:
    """tau of an instance, with p = b/N, at most 1/2, unless it is given."""
    constants = host(lab, where)
    given = {"b": float(batch), "p": min(0.5, batch / constants["N"]), **more}
    return float(Bound(text)({**constants, **given}))


def host(lab: Lab, where: Spec) -> dict[str, float]:
    """The constants of an instance, those of its first run."""
    return {name: float(np.ravel(value)[0]) for name, value in lab.build(where).constants.items()}


# ------------------------------------------------------------------------------------------------ rounds of gossip
def rounds_to(contracted: float, lambda_2: float) -> int:
    """The smallest K with which accelerated gossip leaves at most ``contracted`` of a difference."""
    rounds = 1
    while contraction(rounds, lambda_2) > contracted:
        rounds += 1
    return rounds


def enough_rounds(lab: Lab, where: Spec) -> int:
    """The working rule, no theorem: K leaves at most min(0.1, L_g/(2 L_loc)) of a difference, by the bound on contraction."""
    known = host(lab, where)
    return rounds_to(min(0.1, known["L_g"] / (2 * known["L_loc"])), known["lambda_2"])


# ------------------------------------------------------------------------------------------------ arrivals
SPENT = ("component_calls", "computation_time", "rounds")


class Arrival(NamedTuple):
    """T, and what was spent until then; NaN where the target was not reached."""

    steps: float
    calls: float
    time: float
    rounds: float


NEVER = Arrival(*[float("nan")] * 4)


def arrival_cell(where: Spec, method: Spec, horizon: float, eps: float = 1e-8) -> Cell:
    """The expectation of the squared distance of all agents, until it is ``eps`` times that of the start."""
    return Cell(where, method, int(horizon), 1, ("square_distance", *SPENT), "all", eps, exact=True)


def arrival(trace: Trace, eps: float | None = None) -> Arrival:
    """Of the only variant of an exact cell, or of the first run of another, whose measure is agents_distance."""
    exact = trace.cell.exact
    values = trace["square_distance"][0] if exact else trace["agents_distance"][0] ** 2
    target = (trace.cell.until if eps is None else eps) or 0.0
    with np.errstate(invalid="ignore"):
        hits = np.flatnonzero(values <= target * values[0])
    if not len(hits) or hits[0] == 0:
        return NEVER
    return Arrival(float(trace.steps[hits[0]]), *(float(trace[name][0, hits[0]]) for name in SPENT))


def arrivals(lab: Lab, cells: Iterable[Cell]) -> list[Arrival]:
    return [arrival(trace) for trace in lab.run_all(cells)]


def steps_of(found: Sequence[Arrival]) -> Floats:
    return np.array([each.steps for each in found])


def with_values(trace: Trace, **values: Floats) -> Trace:
    """A trace with measures that are computed from others."""
    return replace(trace, values={**trace.values, **values})


def held(value: float, like: Floats) -> Floats:
    """One number at every record, as a measure."""
    return np.full_like(like, value)
