"""Measures of the iterate, and of how far iterates have been from w*."""

from __future__ import annotations

from theorysim.backend import namespace
from theorysim.measures.measure import Measure, View, error, register_measure
from theorysim.model import Array
from theorysim.norms import known_norm, norm


@register_measure
def gap() -> Measure:
    """f(output) - f*."""
    return Measure(lambda view, _: view.problem.gap(view.output))


@register_measure
def gap_iterate() -> Measure:
    """f(w_{t+1}) - f* at the iterate itself, whatever the output is."""
    return Measure(lambda view, _: view.problem.gap(view.state.x))


@register_measure
def gradient_norm(order: str = "2") -> Measure:
    """Norm of the true gradient at the output."""
    known_norm(order)
    return Measure(lambda view, _: norm(view.problem.gradient(view.output), order))


@register_measure
def distance(order: str = "2") -> Measure:
    """‖output - w*‖."""
    known_norm(order)
    return Measure(lambda view, _: norm(error(view.problem, view.output), order))


@register_measure
def max_distance(order: str = "inf") -> Measure:
    """max over s <= t of ‖w_s - w*‖ (the D_inf or D_2 of a pathwise bound: w_{t+1} does not count)."""
    known_norm(order)

    def update(memory: Array, view: View) -> Array:
        return namespace(memory).maximum(memory, norm(error(view.problem, view.point), order))

    return Measure(lambda view, memory: memory, lambda view: norm(error(view.problem, view.point), order), update)


@register_measure
def coordinate(index: str = "0") -> Measure:
    """One coordinate of the iterate itself, counted from 0 (of the flattened iterate)."""

    def value(view: View, _: None) -> Array:
        xp, x = namespace(view.state.x), view.state.x
        return xp.reshape(x, (x.shape[0], -1))[:, int(index)]

    return Measure(value)
