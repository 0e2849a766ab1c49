"""Exact diffusion: adapt, correct, combine."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._agents import everywhere, mean, over_agents
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``agents``: X. ``adapted``: the point before it was corrected and combined, Psi; both (rows, m, d)."""

    agents: Array
    adapted: Array

    @property
    def x(self) -> Array:
        return mean(self.agents)


@register_algorithm
def exact_diffusion(lr: PerRow) -> Algorithm:
    """Diffusion with its bias corrected.

    Psi_{t+1} = X_t - lr G_t (adapt),  Phi_{t+1} = Psi_{t+1} + X_t - Psi_t (correct),  X_{t+1} = (I + W)/2 Phi_{t+1} (combine),

    with Psi_0 = X_0, row i of G_t being grad f_i at agent i's own point. The recursion of ``nids``, whose first step is not
    combined. ``lr``: mu, in units of w over gradient; below 2/L_loc. A step costs one round of gossip and a local gradient of
    every agent. [Yuan, Ying, Zhao, Sayed 2019, for doubly stochastic W, recalled]
    """
    mu = over_agents(lr)

    def init(problem: Problem, x0: Array) -> State:
        x = everywhere(problem, x0)
        return State(x, x)

    def step(state: State, oracle: Any) -> State:
        adapted = state.agents - mu * oracle.local_gradient(state.agents)
        corrected = adapted + state.agents - state.adapted
        return State(0.5 * (corrected + oracle.mix(corrected)), adapted)

    return Algorithm(init, step, requires=("network", "finite_sum"))
