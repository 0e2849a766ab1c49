"""What is recorded of a run. A measure is named ``"gap"`` or, with an argument, ``"gradient_norm:1"``.

Values are computed on the device; running measures keep a memory that sees every step, so that regrets, maxima and means
over all steps cost no stored trajectory. Step t takes w_t to w_{t+1}; g_t is the first oracle answer of step t, at w_t.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, Problem, TheorysimError
from theorysim.norms import norm
from theorysim.validation import unknown


class View(NamedTuple):
    """What a measure sees after t steps: the state, where the oracle was first asked in step t and what it said, and how
    often it was asked of each kind so far (see run.Oracle)."""

    problem: Problem
    algorithm: Algorithm
    state: Any
    t: int
    point: Array
    answer: Array
    calls: Mapping[str, Any]

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


def answer(view: View) -> Array:
    """The stochastic gradient of the step; TheorysimError where the method asked for none, but for parts of one."""
    if view.answer is None:
        raise TheorysimError("this measure needs the gradient that a step asked for; this method asked for parts of one only")
    return view.answer


def zero(view: View) -> Array:
    """A zero per row."""
    return namespace(view.point).zeros_like(norm(view.point, "inf"))


def error(problem: Problem, x: Array) -> Array:
    if problem.minimizer is None:
        raise TheorysimError(
            "a distance was asked for, but this problem declares no minimiser; measure the gap or the gradient norm"
        )
    return x - problem.minimizer
