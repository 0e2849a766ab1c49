"""Adam."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.validation import one_of


class State(NamedTuple):
    """``power1``, ``power2``: beta1^t and beta2^t; as products they are the same for a number and for an array, to the bit."""

    x: Array
    m: Array
    v: Array
    power1: PerRow
    power2: PerRow


@register_algorithm
def adam(
    lr: PerRow = 1e-3, beta1: PerRow = 0.9, beta2: PerRow = 0.999, eps: PerRow = 1e-8, bias_correction: bool = True
) -> Algorithm:
    """Moving averages of g and g^2 with bias correction.

    m_t = beta1 m_{t-1} + (1 - beta1) g_t,  v_t = beta2 v_{t-1} + (1 - beta2) g_t^2,
    w_{t+1} = w_t - lr m^_t / (sqrt(v^_t) + eps), m^_t = m_t/(1 - beta1^t), v^_t = v_t/(1 - beta2^t); 0/0 counts as 0.

    ``lr``: eta, in units of w. ``beta1``, ``beta2``: in [0, 1). ``eps``: outside the root, in units of the gradient.
    ``bias_correction=False``: m_t and v_t themselves. [Kingma, Ba 2015, Algorithm 1]
    """
    one_of("bias_correction", bias_correction, (True, False))

    def init(problem: Problem, x0: Array) -> State:
        zero = namespace(x0).zeros_like(x0)
        return State(x0, zero, zero, 1.0, 1.0)

    def step(state: State, oracle: Any) -> State:
        xp, g = namespace(state.x), oracle.sample(state.x)
        m = beta1 * state.m + (1 - beta1) * g
        v = beta2 * state.v + (1 - beta2) * g * g
        power1, power2 = state.power1 * beta1, state.power2 * beta2
        m_hat, v_hat = (m * (1 / (1 - power1)), v * (1 / (1 - power2))) if bias_correction else (m, v)
        scale = xp.sqrt(v_hat) + eps
        return State(state.x - lr * m_hat / xp.where(scale > 0, scale, 1.0), m, v, power1, power2)

    return Algorithm(init, step)
