"""What the methods share that take their gradient ahead of the iterate, and weights that are known in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from numpy.typing import NDArray

from theorysim.backend import namespace, to_host
from theorysim.model import Algorithm, Array, LinearMethod, PerRow, Problem, TheorysimError


class State(NamedTuple):
    """``z``: the displacement, what the next step adds to ``x`` besides its gradient; both ``(rows, *shape)``."""

    x: Array
    z: Array


def following(method: LinearMethod) -> Algorithm:
    """The algorithm whose steps are those of ``method``, see model.LinearMethod; for a method with one step size for all steps.

    With the displacement z in place of the iterate before, nothing is lost where momentum is close to 1.
    """
    kick = method.momentum * method.lr if method.kick is None else method.kick

    def init(problem: Problem, x0: Array) -> State:
        return State(x0, namespace(x0).zeros_like(x0))

    def step(state: State, oracle: Any) -> State:
        g = oracle.sample(state.x + method.look_ahead * state.z)
        return State(state.x + state.z - method.lr * g, method.momentum * state.z - kick * g)

    return Algorithm(init, step, lambda state: state.x + method.output * state.z, linear=method)


def root(value: PerRow) -> PerRow:
    """The square root of a number or of an array."""
    return math.sqrt(value) if isinstance(value, int | float) else namespace(value).sqrt(value)


def require(name: str, value: PerRow, allowed: str, holds: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """TheorysimError unless ``holds`` is true of all entries; ``allowed`` says of which numbers it is."""
    entries = to_host(value)
    if not holds(entries).all():
        shown = entries[~holds(entries)].flat[0]
        raise TheorysimError(f"{name}={shown:g} is not allowed; give {allowed}")
