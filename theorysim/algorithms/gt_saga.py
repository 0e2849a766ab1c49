"""GT-SAGA: gradient tracking with one component gradient a step."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._agents import everywhere, mean, over_agents
from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm


class State(NamedTuple):
    """``agents``: X, ``tracker``: S, ``estimate``: V, (rows, m, d). ``table``: Z, where each component was last evaluated,
    (rows, m, n, d); ``average``: (1/n) sum_j grad f_ij(z_ij), (rows, m, d)."""

    agents: Array
    tracker: Array
    estimate: Array
    table: Array
    average: Array

    @property
    def x(self) -> Array:
        return mean(self.agents)


@register_algorithm
def gt_saga(lr: PerRow) -> Algorithm:
    """Gradient tracking of SAGA's estimates of the local gradients.

    x_i <- sum_k W_ik x_k - lr s_i;   j uniform for each agent;   v_i' = grad f_ij(x_i) - grad f_ij(z_ij) + (1/n) sum_l grad
    f_il(z_il);   s_i <- sum_k W_ik s_k + v_i' - v_i;   z_ij <- x_i,

    from z_ij = x_0 and s_i = v_i = grad f_i(x_0). ``lr``: alpha, in units of w over gradient. A step costs two rounds of gossip
    and one component gradient of every agent, as the other is in the table; the gradients of the start are not counted. The
    table holds points, not gradients: the numbers are the same. [Xin, Khan, Kar 2020, recalled]
    """
    alpha = over_agents(lr)

    def init(problem: Problem, x0: Array) -> State:
        x, parts = everywhere(problem, x0), problem.capabilities["finite_sum"]
        xp, gradient = namespace(x), parts.local_gradient(x)
        table = xp.broadcast_to(x[:, :, None, :], (*x.shape[:2], parts.components, x.shape[2]))
        return State(x, gradient, gradient, table, gradient)

    def step(state: State, oracle: Any) -> State:
        x = oracle.mix(state.agents) - alpha * state.tracker
        xp, drawn = namespace(x), oracle.draw_local(1, each=1)
        chosen = drawn[:, :, :, None] > 0
        stored = xp.sum(xp.where(chosen, state.table, xp.zeros_like(state.table)), axis=2)
        change = oracle.weighted_gradient(x, drawn) - oracle.weighted_gradient(stored, drawn)
        estimate = change + state.average
        tracker = oracle.mix(state.tracker) + estimate - state.estimate
        table = xp.where(chosen, x[:, :, None, :], state.table)
        return State(x, tracker, estimate, table, state.average + change / drawn.shape[2])

    return Algorithm(init, step, requires=("network", "finite_sum"))
