"""NIDS: an exact method whose step size does not depend on the network."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._agents import everywhere, mean, over_agents
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``agents``: X_t, ``before``: X_{t-1}, ``gradient``: G_{t-1}; all (rows, m, d), the last two None at t = 0."""

    agents: Array
    before: Array
    gradient: Array

    @property
    def x(self) -> Array:
        return mean(self.agents)


@register_algorithm
def nids(lr: PerRow) -> Algorithm:
    """Network-independent step size.

    X_1 = X_0 - lr G_0,   X_{t+2} = (I + W)/2 (2 X_{t+1} - X_t - lr (G_{t+1} - G_t)),

    row i of G_t being grad f_i at agent i's own point. ``lr``: alpha, in units of w over gradient; below 2/L_loc, whatever the
    network. A step costs one round of gossip, but the first none, and a local gradient of every agent.
    [Li, Shi, Yan 2019, recalled]
    """
    alpha = over_agents(lr)

    def init(problem: Problem, x0: Array) -> State:
        return State(everywhere(problem, x0), None, None)

    def step(state: State, oracle: Any) -> State:
        gradient = oracle.local_gradient(state.agents)
        if state.before is None:
            return State(state.agents - alpha * gradient, state.agents, gradient)
        moved = 2 * state.agents - state.before - alpha * (gradient - state.gradient)
        return State(0.5 * (moved + oracle.mix(moved)), state.agents, gradient)

    return Algorithm(init, step, requires=("network", "finite_sum"))
