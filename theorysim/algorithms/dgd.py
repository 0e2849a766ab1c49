"""Decentralised gradient descent."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._agents import everywhere, mean, over_agents
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``agents``: X, (rows, m, d)."""

    agents: Array

    @property
    def x(self) -> Array:
        return mean(self.agents)


@register_algorithm
def dgd(lr: PerRow) -> Algorithm:
    """Decentralised gradient descent.

    X_{t+1} = W X_t - lr G_t, row i of G_t being grad f_i at agent i's own point.

    Its fixed point is not the minimizer: (I - W) X = -lr G, so agents differ by -lr (I - W)^+ G* in leading order, G* the local
    gradients at w*. ``lr``: alpha, in units of w over gradient. A step costs one round of gossip and a local gradient of every
    agent. [Nedic, Ozdaglar 2009, recalled; the bias derived]
    """
    alpha = over_agents(lr)

    def init(problem: Problem, x0: Array) -> State:
        return State(everywhere(problem, x0))

    def step(state: State, oracle: Any) -> State:
        return State(oracle.mix(state.agents) - alpha * oracle.local_gradient(state.agents))

    return Algorithm(init, step, requires=("network", "finite_sum"))
