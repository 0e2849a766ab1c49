"""DASGO as the code of ASGO's authors has it: one number per column, steps of fixed length."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.algorithms._matrices import require_matrices
from theorysim.algorithms._practical import clipped, moved, of_fixed_length
from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.schedules import schedule as step_schedule
from theorysim.validation import one_of


class State(NamedTuple):
    """``m``: M_t (rows, m, n). ``p``: p_t, (rows, 1, n). ``t``: steps."""

    x: Array
    m: Array
    p: Array
    t: int


@register_algorithm
def dasgo_practical(
    lr: PerRow = 0.02,
    momentum: PerRow = 0.9,
    decay: PerRow = 0.95,
    eps: PerRow = 1e-8,
    normalize: bool = True,
    weight_decay: PerRow = 0.0,
    clip: PerRow = None,
    schedule: str = "constant",
) -> Algorithm:
    """DASGO with moving averages and steps of fixed length, as the authors' code has it: always one number per column.

    M_t = momentum M_{t-1} + (1 - momentum) G_t,  p_t = decay p_{t-1} + (1 - decay) sum_i G_t,ij^2 for column j, both from 0;
    W_{t+1} = (1 - lr_t weight_decay) W_t - lr_t c_t M_t diag(p_t + eps)^{-1/2}, where the update with its c_t has Frobenius norm
    0.2 sqrt(mn).

    ``eps``: inside the root, in units of the gradient squared. The other options are those of asgo_practical.
    Raises TheorysimError unless the iterates are matrices. [An, Liu, Pan, Ren, Ma, Goldfarb, Zhang 2025, the authors' code]
    """
    one_of("normalize", normalize, (True, False))
    factor = step_schedule(schedule)

    def init(problem: Problem, x0: Array) -> State:
        require_matrices("dasgo_practical", x0)
        xp = namespace(x0)
        return State(x0, xp.zeros_like(x0), xp.sum(0.0 * x0, axis=1, keepdims=True), 0)

    def step(state: State, oracle: Any) -> State:
        xp, t = namespace(state.x), state.t + 1
        g = clipped(oracle.sample(state.x), clip)
        m = momentum * state.m + (1 - momentum) * g
        p = decay * state.p + (1 - decay) * xp.sum(g * g, axis=1, keepdims=True)
        scale = xp.sqrt(p + eps)
        update = m / xp.where(scale > 0, scale, 1.0)
        if normalize:
            update = of_fixed_length(update)
        return State(moved(state.x, update, lr * factor(t), weight_decay), m, p, t)

    return Algorithm(init, step)
