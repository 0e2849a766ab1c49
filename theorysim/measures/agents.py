"""Measures of decentralised methods: how far the agents are from w* and from each other, and what they spent."""

from __future__ import annotations

from theorysim.backend import namespace
from theorysim.measures.measure import Measure, View, register_measure
from theorysim.model import Array, TheorysimError


@register_measure
def agents_distance() -> Measure:
    """‖X - 1 w*‖_F over all agents, X the points that the method puts out."""

    def value(view: View, _: None) -> Array:
        x, centre = _points(view), view.problem.minimizer
        if centre is None:
            raise TheorysimError("agents_distance needs a problem with a known minimizer; this one states none")
        xp = namespace(x)
        error = x - (centre[:, None, :] if centre.ndim == 2 else centre)
        return xp.sqrt(xp.sum(error * error, axis=(1, 2)))

    return Measure(value)


@register_measure
def disagreement() -> Measure:
    """‖X - 1 xbar‖_F, how far the agents are from their mean."""

    def value(view: View, _: None) -> Array:
        x = _points(view)
        xp = namespace(x)
        error = x - xp.mean(x, axis=1, keepdims=True)
        return xp.sqrt(xp.sum(error * error, axis=(1, 2)))

    return Measure(value)


@register_measure
def component_calls() -> Measure:
    """Gradients of components that all agents together evaluated, those of the start not counted."""
    return Measure(lambda view, _: _spent(view, "component"))


@register_measure
def computation_time() -> Measure:
    """Gradients of components by the slowest agent, added up over the steps; those of the start not counted."""
    return Measure(lambda view, _: _spent(view, "time"))


@register_measure
def rounds() -> Measure:
    """Rounds of communication: products with W."""
    return Measure(lambda view, _: _spent(view, "communication"))


@register_measure
def messages() -> Measure:
    """Vectors sent from one agent to another."""
    return Measure(lambda view, _: _spent(view, "messages"))


def _points(view: View) -> Array:
    if not hasattr(view.state, "agents"):
        raise TheorysimError(f"this measure needs a method of agents; {type(view.state).__module__} keeps one point for all")
    return view.state.agents


def _spent(view: View, kind: str) -> Array:
    xp, rows = namespace(view.problem.start), view.problem.start[(slice(None),) + (0,) * (view.problem.start.ndim - 1)]
    return xp.zeros_like(rows) + view.calls[kind]
