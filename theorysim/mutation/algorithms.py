"""Faults of algorithms and of what is made of their iterates, for any algorithm that keeps the contract of model.Algorithm.

A fault of ``step`` leaves the declared transition (``linear``) as it is, unless it can be written as another one: exact
expectations do not run a step, so what ties both together, a simulation against its expectation, has to notice it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, LinearMethod, Problem
from theorysim.mutation.divisors import MATRICES, VECTORS, Arguments, Build, divisor
from theorysim.mutation.fault import ALGORITHM, FROZEN, WRAPPER, Fault

_ADAPTIVE = (*VECTORS, *MATRICES, "shampoo")


class State(NamedTuple):
    """The state of the sound algorithm, ``inner``, and what the fault remembers."""

    inner: Any
    memory: Any

    @property
    def x(self) -> Array:
        return self.inner.x

    @property
    def agents(self) -> Array:
        return points_of(self.inner)


def moved_to(state: Any, x: Array) -> Any:
    """The state with another iterate, which may lie inside a wrapped state; of agents with other points, ``points_of``."""
    update = state._replace if hasattr(state, "_replace") else functools.partial(dataclasses.replace, state)
    if hasattr(state, "inner"):
        return update(inner=moved_to(state.inner, x))
    return update(agents=x) if hasattr(state, "agents") else update(x=x)


def points_of(state: Any) -> Array:
    """The iterate, ``(rows, *shape)``, or the points of all agents, ``(rows, m, d)``."""
    inner = state
    while hasattr(inner, "inner"):
        inner = inner.inner
    return inner.agents if hasattr(inner, "agents") else inner.x


# ------------------------------------------------------------------------------------------------ steps
Declared = Callable[[LinearMethod], LinearMethod]


def _still(method: LinearMethod) -> LinearMethod:
    return dataclasses.replace(method, lr=0.0 * method.lr, kick=None if method.kick is None else 0.0 * method.kick)


def _restepped(
    new: Callable[[Array, Array, int], Array], declared: Declared = lambda method: method
) -> Callable[[Build, Arguments], Algorithm]:
    """Step t from x to y becomes the step to ``new(x, y, t)``, t = 1, 2, ..., and the transition ``declared`` of it.

    Of a method with a pooled batch the declared one is changed as well where ``declared`` is: a step size of 0.
    """

    def change(build: Build, arguments: Arguments) -> Algorithm:
        sound = build(**arguments)

        def step(state: State, oracle: Any) -> State:
            t, after = state.memory + 1, sound.step(state.inner, oracle)
            return State(moved_to(after, new(points_of(state), points_of(after), t)), t)

        still = sound.pooled and dataclasses.replace(sound.pooled, lr=0.0 * sound.pooled.lr)
        return dataclasses.replace(
            sound,
            init=lambda problem, x0: State(sound.init(problem, x0), 0),
            step=step,
            output=lambda state: sound.output(state.inner),
            linear=sound.linear and declared(sound.linear),
            pooled=still if declared is _still else sound.pooled,
        )

    return change


# ------------------------------------------------------------------------------------------------ gradients
class Answering:
    """An oracle with some of its answers exchanged; everything else is the oracle's own."""

    def __init__(self, oracle: Any, **answers: Callable[..., Any]) -> None:
        self._oracle = oracle
        self.__dict__.update(answers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._oracle, name)


class _Oracle:
    """An oracle whose answers pass through ``heard(answer)``; everything else is the oracle's own."""

    def __init__(self, oracle: Any, heard: Callable[[Array], Array], exact: bool = False) -> None:
        self._oracle, self._heard, self._exact = oracle, heard, exact

    def gradient(self, x: Array) -> Array:
        return self._heard(self._oracle.gradient(x))

    def sample(self, x: Array) -> Array:
        return self._heard(self._oracle.gradient(x) if self._exact else self._oracle.sample(x))

    def local_gradient(self, x: Array, among: Array = None) -> Array:
        return self._heard(self._oracle.local_gradient(x, among))

    def weighted_gradient(self, x: Array, counts: Array) -> Array:
        return self._heard(self._oracle.weighted_gradient(x, counts))

    def local_sample(self, x: Array) -> Array:
        return self._heard(self._oracle.local_sample(x))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._oracle, name)


def _misheard(heard: Callable[[Array], Array], exact: bool = False) -> Callable[[Build, Arguments], Algorithm]:
    def change(build: Build, arguments: Arguments) -> Algorithm:
        sound = build(**arguments)
        return dataclasses.replace(sound, step=lambda state, oracle: sound.step(state, _Oracle(oracle, heard, exact)))

    return change


def first_coordinate_times(factor: float) -> Callable[[Array], Array]:
    """``(rows, *shape) -> (rows, *shape)``, with the first coordinate in C order multiplied."""

    def scaled(x: Array) -> Array:
        xp, size = namespace(x), int(np.prod(x.shape[1:]))
        first = xp.reshape(xp.arange(size, device=array_api_compat.device(x)), x.shape[1:]) == 0
        return xp.where(first, factor * x, x)

    return scaled


def _stale(build: Build, arguments: Arguments) -> Algorithm:
    sound = build(**arguments)

    def step(state: State, oracle: Any) -> State:
        answers: list[Array] = []

        def late(answer: Array) -> Array:
            answers.append(answer)
            return answer if state.memory is None else state.memory

        return State(sound.step(state.inner, _Oracle(oracle, late)), answers[0])

    return dataclasses.replace(
        sound,
        init=lambda problem, x0: State(sound.init(problem, x0), None),
        step=step,
        output=lambda state: sound.output(state.inner),
    )


# ------------------------------------------------------------------------------------------------ parameters
def argument(name: str, new: Callable[[Any], Any]) -> Callable[[Build, Arguments], Algorithm | None]:
    """Another value of one parameter; nothing to change where it is off already."""

    def change(build: Build, arguments: Arguments) -> Algorithm | None:
        value = arguments[name]
        other = new(value)
        return None if other is value else build(**{**arguments, name: other})

    return change


def scaled(factor: float) -> Callable[[Any], Any]:
    """The value times a factor; what is left to the algorithm, None, stays."""
    return lambda value: value if value is None else factor * value


def off(value: Any) -> Any:
    """Zero in place of a number or an array of numbers, and the value itself where it is zero."""
    return value if isinstance(value, int | float) and value == 0 else 0.0


# ------------------------------------------------------------------------------------------------ averages
class _Average(NamedTuple):
    """``first``: w_1. ``total``: w_1 + ... + w_t. ``t``: steps taken."""

    inner: Any
    first: Array
    total: Array
    t: int

    @property
    def x(self) -> Array:
        return self.inner.x


def _averaged(
    put_out: Callable[[_Average], Array], declared: Declared = lambda method: method
) -> Callable[[Build, Arguments], Algorithm | None]:
    """The wrapper ``average(of)`` putting out something else than it should, from its first step on."""

    def change(build: Build, arguments: Arguments) -> Algorithm:
        of: Algorithm = arguments["of"]

        def init(problem: Problem, x0: Array) -> _Average:
            return _Average(of.init(problem, x0), x0, namespace(x0).zeros_like(x0), 0)

        def step(state: _Average, oracle: Any) -> _Average:
            return state._replace(inner=of.step(state.inner, oracle), total=state.total + state.x, t=state.t + 1)

        linear = build(**arguments).linear
        output = partial(_put_out, put_out)
        return Algorithm(init, step, output, of.requires, linear and declared(linear))

    return change


def _put_out(late: Callable[[_Average], Array], state: _Average) -> Array:
    return late(state) if state.t > 0 else state.first


def _algorithm(name: str, about: str, change: Callable[..., Any], *needs: str, only: tuple[str, ...] = ()) -> Fault:
    return Fault(name, about, ALGORITHM, change, needs, only)


ALGORITHM_FAULTS = (
    _algorithm(FROZEN, "asks for gradients and never moves", _restepped(lambda x, y, t: x, _still)),
    _algorithm("stops", "stands still after its first step", _restepped(lambda x, y, t: y if t == 1 else x)),
    _algorithm("step_halved", "half the step size", argument("lr", lambda lr: 0.5 * lr), "lr"),
    _algorithm("step_doubled", "twice the step size", argument("lr", lambda lr: 2.0 * lr), "lr"),
    _algorithm("step_sign", "goes uphill: the step size has the wrong sign", argument("lr", lambda lr: -lr), "lr"),
    _algorithm("step_decays", "a further factor 1/sqrt(t) in step t", _restepped(lambda x, y, t: x + (y - x) / t**0.5)),
    _algorithm("stale_gradient", "uses the gradient of the step before", _stale),
    _algorithm("coordinate_lost", "takes the first coordinate of every gradient for 0", _misheard(first_coordinate_times(0.0))),
    _algorithm("coordinate_sign", "first coordinate of every gradient negated", _misheard(first_coordinate_times(-1.0))),
    _algorithm("noise_ignored", "uses exact gradients in place of stochastic ones", _misheard(lambda answer: answer, exact=True)),
    _algorithm("eps_dropped", "eps = 0", argument("eps", off), "eps"),
    _algorithm("v0_dropped", "the accumulator starts at 0", argument("v0", off), "v0"),
    _algorithm("box_ignored", "iterates are not projected onto the box", argument("box", lambda box: None), "box"),
    _algorithm(
        "schedule_ignored",
        "the step size is constant",
        argument("schedule", lambda name: name if name == "constant" else "constant"),
        "schedule",
    ),
    _algorithm("momentum_dropped", "momentum 0", argument("momentum", off), "momentum"),
    _algorithm("momentum_sign", "the momentum pulls back", argument("momentum", lambda m: m if m is None else -m), "momentum"),
    _algorithm("beta1_dropped", "no average of the gradients: beta1 = 0", argument("beta1", off), "beta1"),
    _algorithm(
        "correction_dropped",
        "moving averages without bias correction",
        argument("bias_correction", lambda on: False),
        "bias_correction",
    ),
    _algorithm("root_missing", "divides by v, without its root", divisor(root=1.0), only=_ADAPTIVE),
    _algorithm("cube_root", "divides by the cube root of v", divisor(root=1 / 3), only=_ADAPTIVE),
    _algorithm("fourth_root", "divides by the fourth root of v", divisor(root=0.25), only=_ADAPTIVE),
    _algorithm("lagged", "divides by the root of v_{t-1} in place of v_t", divisor(lagged=True), only=_ADAPTIVE),
    _algorithm("forgets", "v is a moving average: .99 v + .01 g^2", divisor(decay=0.99), only=_ADAPTIVE),
    _algorithm("not_accumulated", "v is the square of the newest gradient", divisor(decay=0.0), only=_ADAPTIVE),
    _algorithm("eps_inside", "eps inside the root", divisor(inside=True), only=(*VECTORS, *MATRICES)),
)


def _output(name: str, about: str, put_out: Callable[[_Average], Array], declared: Declared = lambda method: method) -> Fault:
    return Fault(name, about, WRAPPER, _averaged(put_out, declared), only=("average",))


WRAPPER_FAULTS = (
    Fault(FROZEN, "asks for gradients and never moves", WRAPPER, _restepped(lambda x, y, t: x, _still)),
    _output("first_left_out", "the mean of w_2..w_t (of w_1 alone at t = 1)", lambda s: _without_first(s)),
    _output("next_included", "the mean of w_1..w_{t+1}", lambda s: (s.total + s.x) / (s.t + 1)),
    _output("shifted", "the mean of w_2..w_{t+1}", lambda s: (s.total - s.first + s.x) / s.t),
    _output("one_too_many", "the sum of w_1..w_t over t + 1", lambda s: s.total / (s.t + 1)),
    _output("last_iterate", "the last iterate", lambda s: s.x, lambda method: dataclasses.replace(method, averaged=False)),
    _output("first_iterate", "the start", lambda s: s.first, _still),
)


def _without_first(state: _Average) -> Array:
    return (state.total - state.first) / (state.t - 1) if state.t > 1 else state.first
