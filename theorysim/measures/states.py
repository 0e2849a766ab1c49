"""Measures read off what a method keeps in its state: accumulators, auxiliary sequences."""

from __future__ import annotations

from typing import Any

from theorysim.accumulator import Root
from theorysim.backend import namespace
from theorysim.measures.measure import Measure, View, error, register_measure
from theorysim.model import Array, TheorysimError
from theorysim.norms import known_norm, norm
from theorysim.validation import unknown


@register_measure
def root_sum() -> Measure:
    """sum_j sqrt(v_{t,j}) of the algorithm's accumulator v."""

    def value(view: View, _: None) -> Array:
        xp = namespace(view.state.x)
        return xp.sum(xp.sqrt(_kept(view.state, "v")), axis=tuple(range(1, view.state.x.ndim)))

    return Measure(value)


@register_measure
def root_trace() -> Measure:
    """Trace of the root of the gradient products that a method carries: G_t^{1/2} of full-matrix AdaGrad, V_t^{1/2} of ASGO."""

    def value(view: View, _: None) -> Array:
        root = _kept(view.state, "root")
        if not isinstance(root, Root):
            raise TheorysimError("root_trace reads a root that is carried in factors, as full_matrix_adagrad and asgo do")
        return namespace(root.s).sum(root.s, axis=1)

    return Measure(value)


@register_measure
def log_growth(vector: str = "L") -> Measure:
    """sum_j c_j ln(v_{t,j} / first nonzero v_{s,j}) over coordinates with v > 0; c = problem.vectors[vector]."""

    def value(view: View, first: Array) -> Array:
        xp, v = namespace(first), _kept(view.state, "v")
        seen = first < xp.inf
        ratio = xp.where(seen, v, 1.0) / xp.where(seen, first, 1.0)
        return xp.sum(view.problem.vectors[vector] * xp.log(ratio), axis=tuple(range(1, v.ndim)))

    return Measure(value, lambda view: _first_value(view, vector), _first_nonzero)


@register_measure
def active_sum(vector: str = "L") -> Measure:
    """sum of c_j over the coordinates whose accumulator has left zero; c = problem.vectors[vector]."""

    def value(view: View, first: Array) -> Array:
        xp = namespace(first)
        return xp.sum(xp.where(first < xp.inf, view.problem.vectors[vector], 0.0), axis=tuple(range(1, first.ndim)))

    return Measure(value, lambda view: _first_value(view, vector), _first_nonzero)


@register_measure
def auxiliary_distance(order: str = "2") -> Measure:
    """‖v - w*‖ of a method that keeps an auxiliary sequence v, such as mass_three_sequences."""
    known_norm(order)
    return Measure(lambda view, _: norm(error(view.problem, _kept(view.state, "auxiliary")), order))


def _first_value(view: View, vector: str) -> Array:
    if vector not in view.problem.vectors:
        raise unknown("vector of the problem", vector, view.problem.vectors)
    xp, v = namespace(view.point), _kept(view.state, "v")
    return xp.where(v > 0, v, xp.inf)


def _first_nonzero(first: Array, view: View) -> Array:
    """The first nonzero value of each accumulator coordinate, infinity where there was none yet."""
    xp, v = namespace(first), _kept(view.state, "v")
    return xp.where((first == xp.inf) & (v > 0), v, first)


def _kept(state: Any, name: str) -> Array:
    """What a method keeps in its state under this name, inside any wrappers; TheorysimError where it keeps none."""
    inner = state
    while hasattr(inner, "inner"):
        inner = inner.inner
    if not hasattr(inner, name):
        raise TheorysimError(f"this measure reads {name} of the algorithm's state; the algorithm keeps none")
    return getattr(inner, name)
