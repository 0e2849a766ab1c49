"""Measures of the gradients met on the way: regrets, means, and what adaptive methods accumulate, added up here anew."""

from __future__ import annotations

from theorysim.backend import namespace
from theorysim.measures.measure import Measure, View, answer, error, register_measure, zero
from theorysim.model import Array
from theorysim.norms import known_norm, norm


@register_measure
def regret() -> Measure:
    """sum over s <= t of <g_s, w_s - w*>."""

    def update(memory: Array, view: View) -> Array:
        product = answer(view) * error(view.problem, view.point)
        return memory + namespace(product).sum(product, axis=tuple(range(1, product.ndim)))

    return Measure(lambda view, memory: memory, zero, update)


@register_measure
def mean_gradient_norm(order: str = "1") -> Measure:
    """(1/t) sum over s <= t of the norm of the true gradient at w_s, before the step (0 at t = 0)."""
    known_norm(order)
    return Measure(
        lambda view, memory: memory / max(view.t, 1),
        zero,
        lambda memory, view: memory + norm(view.problem.gradient(view.point), order),
    )


@register_measure
def mean_squared_gradient() -> Measure:
    """(1/t) sum over s <= t of the squared l2 norm of the true gradient at w_s (0 at t = 0)."""
    return Measure(
        lambda view, memory: memory / max(view.t, 1),
        zero,
        lambda memory, view: memory + norm(view.problem.gradient(view.point), "2") ** 2,
    )


@register_measure
def squared_gradients() -> Measure:
    """sum over s <= t of ‖g_s‖_2^2, the scalar accumulator of AdaGrad-Norm."""
    return Measure(
        lambda view, memory: memory,
        zero,
        lambda memory, view: memory + norm(answer(view), "2") ** 2,
    )
