"""Decentralised stochastic gradient descent."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._agents import everywhere, mean, over_agents, require_samples
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``agents``: X, (rows, m, d)."""

    agents: Array

    @property
    def x(self) -> Array:
        return mean(self.agents)


@register_algorithm
def d_sgd(lr: PerRow) -> Algorithm:
    """Decentralised stochastic gradient descent.

    X_{t+1} = W (X_t - lr g_t), row i of g_t being a stochastic gradient of f_i at agent i's own point.

    ``lr``: s, in units of w over gradient. A step that knows of no constant of the problem, ``lr="sqrt(m/4000)"`` for 4000
    steps, is stable on a quadratic only while L lr < 2. A step costs one round of gossip and one stochastic gradient of every
    agent: the problem's own, or of one component drawn uniformly. [Lian et al. 2017, recalled, there with W inside]
    """
    size = over_agents(lr)

    def init(problem: Problem, x0: Array) -> State:
        require_samples("d_sgd", problem)
        return State(everywhere(problem, x0))

    def step(state: State, oracle: Any) -> State:
        return State(oracle.mix(state.agents - size * oracle.local_sample(state.agents)))

    return Algorithm(init, step, requires=("network",))
