"""Signs of averaged gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.schedules import schedule as step_schedule


class State(NamedTuple):
    """``m``: the moving average of the gradients, ``(rows, *shape)``."""

    x: Array
    m: Array
    t: int


@register_algorithm
def signum(lr: PerRow, momentum: PerRow = 0.9, schedule: str = "constant") -> Algorithm:
    """Steps of one length in every coordinate, against the sign of a moving average of the gradients.

    m_t = momentum m_{t-1} + (1 - momentum) g_t, m_0 = 0,  w_{t+1} = w_t - lr s(t) sign(m_t), with sign(0) = 0.

    ``lr``: eta, in units of w; no default, as for sign_sgd. ``momentum``: beta, in [0, 1); 0 is sign_sgd, and no correction of
    the bias would change a sign. ``schedule``: the factor s(t) of step t = 1, 2, ..., by name (schedules.py). Raises
    TheorysimError for an unknown schedule. [Bernstein, Wang, Azizzadenesheli, Anandkumar 2018, Algorithm 2, recalled]
    """
    factor = step_schedule(schedule)

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, namespace(x0).zeros_like(x0), 0)

    def step(state: State, oracle: Any) -> State:
        xp, t = namespace(state.x), state.t + 1
        m = momentum * state.m + (1 - momentum) * oracle.sample(state.x)
        return State(state.x - lr * factor(t) * xp.sign(m), m, t)

    return Algorithm(init, step)
