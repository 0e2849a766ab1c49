"""What is recorded of a run. A measure is named ``"gap"`` or, with an argument, ``"gradient_norm:1"``.

Values are computed on the device; running measures keep a memory that sees every step, so that regrets, maxima and means
over all steps cost no stored trajectory. Step t takes w_t to w_{t+1}; g_t is the first oracle answer of step t, at w_t.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, Problem, TheorysimError
from theorysim.validation import one_of, unknown


class View(NamedTuple):
    """What a measure sees after t steps: the state, and where the oracle was first asked in step t and what it said."""

    problem: Problem
    algorithm: Algorithm
    state: Any
    t: int
    point: Array
    answer: Array

    @property
    def output(self) -> Array:
        return self.algorithm.output(self.state)


@dataclass(frozen=True)
class Measure:
    """``value(view, memory) -> (rows,)``; with memory: ``start(view)`` at t = 0, ``update(memory, view)`` after each step."""

    value: Callable[[View, Any], Array]
    start: Callable[[View], Any] | None = None
    update: Callable[[Any, View], Any] | None = None


MEASURES: dict[str, Callable[..., Measure]] = {}


def register_measure(factory: Callable[..., Measure]) -> Callable[..., Measure]:
    """Add a factory ``(argument="...") -> Measure`` under its own name."""
    MEASURES[factory.__name__] = factory
    return factory


def build_measure(name: str) -> Measure:
    """The measure of a name such as ``"gap"`` or ``"max_distance:inf"``; TheorysimError for an unknown one."""
    word, _, argument = name.partition(":")
    if word not in MEASURES:
        raise unknown("measure", word, MEASURES)
    if argument and not inspect.signature(MEASURES[word]).parameters:
        raise TheorysimError(f"measure {word!r} takes no argument; write {word!r}")
    return MEASURES[word](argument) if argument else MEASURES[word]()


def norm(x: Array, order: str) -> Array:
    """Norm of each row, ``(rows, *shape) -> (rows,)``; order ``"1"``, ``"2"`` or ``"inf"`` (entrywise)."""
    xp = namespace(x)
    axes = tuple(range(1, x.ndim))
    if order == "1":
        return xp.sum(xp.abs(x), axis=axes)
    return xp.max(xp.abs(x), axis=axes) if order == "inf" else xp.sqrt(xp.sum(x * x, axis=axes))


def _zero(view: View) -> Array:
    """A zero per row."""
    return namespace(view.point).zeros_like(norm(view.point, "inf"))


def _error(problem: Problem, x: Array) -> Array:
    if problem.minimizer is None:
        raise TheorysimError(
            "a distance was asked for, but this problem declares no minimiser; measure the gap or the gradient norm"
        )
    return x - problem.minimizer


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
    one_of("order", order, ("1", "2", "inf"))
    return Measure(lambda view, _: norm(view.problem.gradient(view.output), order))


@register_measure
def distance(order: str = "2") -> Measure:
    """‖output - w*‖."""
    one_of("order", order, ("1", "2", "inf"))
    return Measure(lambda view, _: norm(_error(view.problem, view.output), order))


@register_measure
def max_distance(order: str = "inf") -> Measure:
    """max over s <= t of ‖w_s - w*‖ (the D_inf or D_2 of a pathwise bound: w_{t+1} does not count)."""
    one_of("order", order, ("1", "2", "inf"))

    def update(memory: Array, view: View) -> Array:
        return namespace(memory).maximum(memory, norm(_error(view.problem, view.point), order))

    return Measure(lambda view, memory: memory, lambda view: norm(_error(view.problem, view.point), order), update)


@register_measure
def regret() -> Measure:
    """sum over s <= t of <g_s, w_s - w*>."""

    def update(memory: Array, view: View) -> Array:
        product = view.answer * _error(view.problem, view.point)
        return memory + namespace(product).sum(product, axis=tuple(range(1, product.ndim)))

    return Measure(lambda view, memory: memory, _zero, update)


@register_measure
def mean_gradient_norm(order: str = "1") -> Measure:
    """(1/t) sum over s <= t of the norm of the true gradient at w_s, before the step (0 at t = 0)."""
    one_of("order", order, ("1", "2", "inf"))
    return Measure(
        lambda view, memory: memory / max(view.t, 1),
        _zero,
        lambda memory, view: memory + norm(view.problem.gradient(view.point), order),
    )


@register_measure
def mean_squared_gradient() -> Measure:
    """(1/t) sum over s <= t of the squared l2 norm of the true gradient at w_s (0 at t = 0)."""
    return Measure(
        lambda view, memory: memory / max(view.t, 1),
        _zero,
        lambda memory, view: memory + norm(view.problem.gradient(view.point), "2") ** 2,
    )


@register_measure
def coordinate(index: str = "0") -> Measure:
    """One coordinate of the iterate itself, counted from 0 (of the flattened iterate)."""

    def value(view: View, _: None) -> Array:
        xp, x = namespace(view.state.x), view.state.x
        return xp.reshape(x, (x.shape[0], -1))[:, int(index)]

    return Measure(value)


@register_measure
def squared_gradients() -> Measure:
    """sum over s <= t of ‖g_s‖_2^2, the scalar accumulator of AdaGrad-Norm."""
    return Measure(
        lambda view, memory: memory,
        _zero,
        lambda memory, view: memory + norm(view.answer, "2") ** 2,
    )


@register_measure
def root_sum() -> Measure:
    """sum_j sqrt(v_{t,j}) of the algorithm's accumulator v."""

    def value(view: View, _: None) -> Array:
        xp = namespace(view.state.x)
        return xp.sum(xp.sqrt(_accumulator(view.state)), axis=tuple(range(1, view.state.x.ndim)))

    return Measure(value)


@register_measure
def root_trace() -> Measure:
    """Trace of the square root of the matrix accumulator G of full-matrix AdaGrad."""

    def value(view: View, _: None) -> Array:
        xp = namespace(view.state.x)
        eigenvalues = xp.linalg.eigvalsh(_accumulator(view.state, "G"))
        return xp.sum(xp.sqrt(xp.where(eigenvalues > 0, eigenvalues, 0.0)), axis=1)

    return Measure(value)


@register_measure
def log_growth(vector: str = "L") -> Measure:
    """sum_j c_j ln(v_{t,j} / first nonzero v_{s,j}) over coordinates with v > 0; c = problem.vectors[vector]."""

    def value(view: View, first: Array) -> Array:
        xp, v = namespace(first), _accumulator(view.state)
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


def _first_value(view: View, vector: str) -> Array:
    if vector not in view.problem.vectors:
        raise unknown("vector of the problem", vector, view.problem.vectors)
    xp, v = namespace(view.point), _accumulator(view.state)
    return xp.where(v > 0, v, xp.inf)


def _first_nonzero(first: Array, view: View) -> Array:
    """The first nonzero value of each accumulator coordinate, infinity where there was none yet."""
    xp, v = namespace(first), _accumulator(view.state)
    return xp.where((first == xp.inf) & (v > 0), v, first)


def _accumulator(state: Any, name: str = "v") -> Array:
    """The accumulator of an adaptive method, inside any wrappers; TheorysimError where the algorithm keeps none."""
    inner = state
    while hasattr(inner, "inner"):
        inner = inner.inner
    if not hasattr(inner, name):
        raise TheorysimError(f"this measure reads the accumulator {name} of an adaptive method; the algorithm keeps none")
    return getattr(inner, name)
