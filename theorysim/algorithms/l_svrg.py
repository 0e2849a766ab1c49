"""L-SVRG: gradients of a batch of components, corrected by a full gradient at a snapshot."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._agents import mean
from theorysim.algorithms._pooled import at_all, averaged, estimate, full_gradient, refreshed, start
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``snapshot``: w, ``(rows, d)``. ``full``: grad f_i(w) of every agent, ``(rows, m, d)``."""

    x: Array
    snapshot: Array
    full: Array


@register_algorithm
def l_svrg(batch: int, chance: PerRow, lr: PerRow, importance: bool = False) -> Algorithm:
    """Loopless stochastic variance-reduced gradient, the agents of the finite sum all at one point.

    x_{k+1} = x_k - lr v_k,   v_k = grad f(w_k) + mean over the batch of (grad f_ij(x_k) - grad f_ij(w_k))/(N q_ij),

    and w_{k+1} = x_k with probability ``chance``, else w_k; w_0 = x_0. ``batch``: b components, drawn with replacement from
    all N = m n, uniformly or, with ``importance``, with chances q_ij that grow with their smoothness. ``lr``: eta, in units of x
    over gradient; "1/(L_g + 6*L_s/b)" has a guarantee, E Psi_k <= (1 - min(mu eta, p/2))^k Psi_0. A step costs 2 b component
    gradients, and N where the snapshot is new. Raises TheorysimError for a chance outside [0, 1].
    [Hofmann and others 2015; Kovalev, Horvath, Richtarik 2020; recalled, the constants derived]
    """
    method = averaged(batch, chance, importance, lr=lr)

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, x0, start(problem, x0))

    def step(state: State, oracle: Any) -> State:
        agents = state.full.shape[1]
        v = estimate(oracle, method, at_all(state.x, agents), at_all(state.snapshot, agents), state.full)
        snapshot, full = refreshed(oracle, method, state.x, state.snapshot, state.full, full_gradient(oracle, agents))
        return State(state.x - lr * mean(v), snapshot, full)

    return Algorithm(init, step, requires=("finite_sum",), pooled=method)
