"""Polyak's heavy-ball method."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, LinearMethod, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.schedules import schedule as step_schedule
from theorysim.schedules import stages
from theorysim.validation import one_of

FORMS = ("polyak", "library")


class State(NamedTuple):
    """``m``: the buffer, of steps in the form "polyak" and of raw gradients in the form "library"; ``(rows, *shape)``."""

    x: Array
    m: Array
    t: int


@register_algorithm
def heavy_ball(
    lr: PerRow = "4/(sqrt(lambda_max) + sqrt(lambda_min))**2",
    momentum: PerRow = "((sqrt(lambda_max) - sqrt(lambda_min))/(sqrt(lambda_max) + sqrt(lambda_min)))**2",
    schedule: str = "constant",
    form: str = "polyak",
) -> Algorithm:
    """Polyak's heavy ball on stochastic gradients.

    w_{t+1} = w_t - lr s(t) g_t + momentum (w_t - w_{t-1}), with w_0 = w_1.

    ``lr``: eta, in units of w over gradient. ``momentum``: without unit. The defaults are the optimal pair for a quadratic with
    spectrum in [lambda_min, lambda_max]. ``schedule``: the factor s(t) of step t = 1, 2, ..., by name (schedules.py).
    ``form``: what the factor multiplies. "polyak": the fresh gradient and not the momentum, as above,
    m_{t+1} = momentum m_t + lr s(t) g_t, w_{t+1} = w_t - m_{t+1}. "library": a buffer of raw gradients, as in PyTorch,
    m_{t+1} = momentum m_t + g_t, w_{t+1} = w_t - lr s(t) m_{t+1}; the same while s is constant. Raises TheorysimError for an
    unknown schedule or form. [Polyak 1964, recalled]
    """
    outside = one_of("form", form, FORMS) == "library"
    factor = step_schedule(schedule)

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, namespace(x0).zeros_like(x0), 0)

    def step(state: State, oracle: Any) -> State:
        t = state.t + 1
        size, g = lr * factor(t), oracle.sample(state.x)
        m = momentum * state.m + (g if outside else size * g)
        return State(state.x - (size * m if outside else m), m, t)

    return Algorithm(init, step, linear=LinearMethod(lr, momentum, partial(stages, schedule), lr_outside=outside))
