"""EXTRA: decentralised gradient descent with the bias taken out."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._agents import everywhere, mean, over_agents
from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``agents``: X_t. ``half``: (I + W)/2 X_{t-1}, ``gradient``: G_{t-1}; all (rows, m, d)."""

    agents: Array
    half: Array
    gradient: Array

    @property
    def x(self) -> Array:
        return mean(self.agents)


@register_algorithm
def extra(lr: PerRow) -> Algorithm:
    """Exact first-order algorithm: the difference of two steps of decentralised gradient descent, with different W.

    X_1 = W X_0 - lr G_0,   X_{t+2} = (I + W) X_{t+1} - (I + W)/2 X_t - lr (G_{t+1} - G_t),

    row i of G_t being grad f_i at agent i's own point. ``lr``: alpha, in units of w over gradient; below
    (1 + lambda_min(W))/L_loc. A step costs one round of gossip, as W X_t is kept, and a local gradient of every agent.
    [Shi, Ling, Wu, Yin 2015, recalled]
    """
    alpha = over_agents(lr)

    def init(problem: Problem, x0: Array) -> State:
        x = everywhere(problem, x0)
        return State(x, x, namespace(x).zeros_like(x))  # with these the general step is the first one

    def step(state: State, oracle: Any) -> State:
        mixed, gradient = oracle.mix(state.agents), oracle.local_gradient(state.agents)
        x = state.agents + mixed - state.half - alpha * (gradient - state.gradient)
        return State(x, 0.5 * (state.agents + mixed), gradient)

    return Algorithm(init, step, requires=("network", "finite_sum"))
