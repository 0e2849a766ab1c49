"""L-SVRG of agents that mix by gossip and track the mean of their estimates."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._agents import everywhere, mean
from theorysim.algorithms._pooled import estimate, for_agents, mixer, of_agents, refreshed
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``agents``: X. ``snapshot``: w_i, ``full``: grad f_i(w_i). ``estimate``: V, ``tracker``: S; all ``(rows, m, d)``."""

    agents: Array
    snapshot: Array
    full: Array
    estimate: Array
    tracker: Array

    @property
    def x(self) -> Array:
        return mean(self.agents)


@register_algorithm
def dec_lsvrg(
    batch: int,
    chance: PerRow,
    rounds: int,
    lr: PerRow,
    importance: bool = False,
    estimator: str = "pool",
    mixing: str = "fast",
) -> Algorithm:
    """Decentralised L-SVRG with a batch from the pool of all components.

    X <- mix(X - lr S);   snapshot <- the old X with probability ``chance``;   V' by ``estimate`` at (X, snapshot);
    S <- mix(S + V' - V),

    from X = snapshot = 1 x_0 and S = V = (grad f_i(x_0)), not mixed. ``mix``: ``rounds`` rounds of gossip, accelerated ("fast")
    or not ("plain"), so a step costs 2 ``rounds``. ``batch``: b components of the pool, the draw known to all agents;
    ``estimator``: "local" draws b/m at every agent instead. ``lr``: eta, in units of x over gradient;
    "1/(L_g + 6*L_s/b)" suits mixing that is good enough. Component gradients: 2 b, and N where the snapshot is new.
    Raises TheorysimError for a chance outside [0, 1], an unknown estimator or mixing, and where m does not divide a local batch.
    [Liu, Chen, Luo 2024 and its sibling for the sampling; the rest reconstructed]
    """
    method = of_agents(batch, chance, rounds, importance, estimator, mixing, lr=lr)
    (eta,) = for_agents(lr)

    def init(problem: Problem, x0: Array) -> State:
        x = everywhere(problem, x0)
        gradient = problem.capabilities["finite_sum"].local_gradient(x)
        return State(x, x, gradient, gradient, gradient)

    def step(state: State, oracle: Any) -> State:
        mix = mixer(oracle, method)
        x = mix(state.agents - eta * state.tracker)
        snapshot, full = refreshed(oracle, method, state.agents, state.snapshot, state.full, oracle.local_gradient)
        v = estimate(oracle, method, x, snapshot, full)
        return State(x, snapshot, full, v, mix(state.tracker + v - state.estimate))

    return Algorithm(init, step, requires=("network", "finite_sum"), pooled=method)
