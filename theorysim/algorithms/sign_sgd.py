"""Stochastic gradient descent by signs."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.schedules import schedule as step_schedule


class State(NamedTuple):
    x: Array
    t: int


@register_algorithm
def sign_sgd(lr: PerRow, schedule: str = "constant") -> Algorithm:
    """Steps of one length in every coordinate, against the sign of its stochastic gradient.

    w_{t+1} = w_t - lr s(t) sign(g_t), with g_t a stochastic gradient at w_t and sign(0) = 0.

    ``lr``: eta, in units of w; no default, because the step that minimises the noise-free bound on the mean of ‖grad f‖_1,
    Delta_0/(lr T) + lr L_1norm/2, needs the horizon T: write it with T as a number, ``lr="sqrt(2*Delta_0/(L_1norm*400))"``
    (derived). ``schedule``: the factor s(t) of step t = 1, 2, ..., by name (schedules.py). Raises TheorysimError for an unknown
    schedule. [Bernstein, Wang, Azizzadenesheli, Anandkumar 2018, Algorithm 1, recalled]
    """
    factor = step_schedule(schedule)

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, 0)

    def step(state: State, oracle: Any) -> State:
        xp, t = namespace(state.x), state.t + 1
        return State(state.x - lr * factor(t) * xp.sign(oracle.sample(state.x)), t)

    return Algorithm(init, step)
