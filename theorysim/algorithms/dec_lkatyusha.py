"""Loopless Katyusha of agents that mix by gossip and track the mean of their estimates."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._agents import everywhere, mean
from theorysim.algorithms._pooled import estimate, for_agents, katyusha_weights, mixer, of_agents, refreshed
from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``agents``: Y. ``z``: Z. ``snapshot``: w_i, ``full``: grad f_i(w_i). ``estimate``: V, ``tracker``: S; all
    ``(rows, m, d)``."""

    agents: Array
    z: Array
    snapshot: Array
    full: Array
    estimate: Array
    tracker: Array

    @property
    def x(self) -> Array:
        return mean(self.agents)


@register_algorithm
def dec_lkatyusha(
    batch: int,
    chance: PerRow,
    rounds: int,
    lr: PerRow = None,
    theta_1: PerRow = None,
    theta_2: PerRow = None,
    smoothness: PerRow = "L_g",
    smoothness_s: PerRow = "L_s",
    mu: PerRow = "mu",
    importance: bool = False,
    estimator: str = "pool",
    mixing: str = "fast",
    tracking: bool = True,
) -> Algorithm:
    """Decentralised loopless Katyusha with a batch from the pool of all components.

    X = theta_1 Z + theta_2 snapshot + (1 - theta_1 - theta_2) Y;   V' by ``estimate`` at (X, snapshot);   S <- mix(S + V' - V);
    Z' = mix((Z + a mu X - a S)/(1 + a mu));   Y <- mix(X + theta_1 (Z' - Z));   snapshot <- old Y with probability ``chance``,

    from Z = snapshot = Y = 1 x_0 and V = S = 0; without ``tracking`` S = mix(V'). Weights as in ``katyusha``; ``rounds``,
    ``batch``, ``estimator``, ``mixing`` as in ``dec_lsvrg``. A step costs 3 ``rounds`` of gossip and 2 b component
    gradients, and N where the snapshot is new. Raises TheorysimError as those two do.
    [Liu, Chen, Luo 2024, reconstructed]
    """
    weights = katyusha_weights(batch, chance, (theta_1, theta_2, lr), smoothness, smoothness_s, mu)
    method = of_agents(batch, chance, rounds, importance, estimator, mixing, tracking=tracking, **weights)
    t1, t2, a, strength = for_agents(method.theta_1, method.theta_2, method.lr, mu)

    def init(problem: Problem, x0: Array) -> State:
        x = everywhere(problem, x0)
        zero = namespace(x).zeros_like(x)
        return State(x, x, x, problem.capabilities["finite_sum"].local_gradient(x), zero, zero)

    def step(state: State, oracle: Any) -> State:
        mix = mixer(oracle, method)
        x = t1 * state.z + t2 * state.snapshot + (1 - t1 - t2) * state.agents
        v = estimate(oracle, method, x, state.snapshot, state.full)
        s = mix(state.tracker + v - state.estimate if tracking else v)
        z = mix((state.z + a * strength * x - a * s) / (1 + a * strength))
        y = mix(x + t1 * (z - state.z))
        snapshot, full = refreshed(oracle, method, state.agents, state.snapshot, state.full, oracle.local_gradient)
        return State(y, z, snapshot, full, v, s)

    return Algorithm(init, step, requires=("network", "finite_sum"), pooled=method)
