"""AdaGrad with one deliberate fault, for negative controls."""

from __future__ import annotations

from typing import Any, NamedTuple

from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, PerRow, Problem
from theorysim.registry import register_algorithm
from theorysim.validation import one_of

FAULTS = ("no_root", "lagged", "moving_average", "moving_average_corrected", "eps_inside", "frozen")


class State(NamedTuple):
    """``power``: decay^t; as a product it is the same for a number and for an array, to the bit."""

    x: Array
    v: Array
    power: PerRow


@register_algorithm
def faulty_adagrad(
    fault: str,
    lr: PerRow = "D_inf_0/sqrt(2)",
    eps: PerRow = 0.0,
    v0: PerRow = 0.0,
    box: PerRow = None,
    decay: PerRow = 0.99,
) -> Algorithm:
    """AdaGrad with one deliberate fault, for negative controls.

    w_{t+1} = clip(w_t - lr g_t / (sqrt(v_t) + eps)) with v_t = v_{t-1} + g_t^2, but for one ``fault``:

    - ``no_root``: divides by v_t + eps.
    - ``lagged``: divides by sqrt(v_{t-1}) + eps, so that a coordinate with v0 = eps = 0 waits until its first nonzero
      gradient is in the accumulator.
    - ``moving_average``: v_t = decay v_{t-1} + (1 - decay) g_t^2, from v_0 = v0.
    - ``moving_average_corrected``: the same, divides by sqrt(v_t / (1 - decay^t)) + eps.
    - ``eps_inside``: divides by sqrt(v_t + eps).
    - ``frozen``: asks for gradients and never moves.

    A coordinate whose divisor is 0 does not move. ``lr``: eta; ``eps``, ``v0``, ``box``: as in adagrad. ``decay``: in [0, 1),
    only read by the moving averages. Raises TheorysimError for another fault.
    """
    one_of("fault", fault, FAULTS)

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, namespace(x0).zeros_like(x0) + v0, 1.0)

    def divisor(before: Array, v: Array, power: PerRow) -> Array:
        sqrt = namespace(v).sqrt
        if fault == "no_root":
            return v + eps
        if fault == "eps_inside":
            return sqrt(v + eps)
        if fault == "moving_average_corrected":
            return sqrt(v / (1 - power)) + eps
        return sqrt(before if fault == "lagged" else v) + eps

    def step(state: State, oracle: Any) -> State:
        xp, g, power = namespace(state.x), oracle.sample(state.x), state.power * decay
        v = decay * state.v + (1 - decay) * g * g if fault.startswith("moving_average") else state.v + g * g
        if fault == "frozen":
            return State(state.x, v, power)
        scale = divisor(state.v, v, power)
        x = state.x - xp.where(scale > 0, lr * g / xp.where(scale > 0, scale, 1.0), 0.0)
        return State(x if box is None else xp.minimum(xp.maximum(x, -box), box), v, power)

    return Algorithm(init, step)
