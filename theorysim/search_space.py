"""The instances a Search ranges over, as the points of a cube: a coordinate from 0 to 1 for each parameter that varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from theorysim.model import Search, Spec, TheorysimError
from theorysim.plan import plan
from theorysim.validation import finite

_DECADE = 10.0  # a positive range that spans this factor is searched on a logarithmic scale


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``, whole ones if both ends are; on a logarithmic scale if positive and wide."""

    low: float
    high: float

    def at(self, place: float) -> float:
        """The number at ``place`` of the way; a place outside [0, 1] is the nearer end."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        margin = 0.5 if whole else 0.0  # every whole number gets its share
        low, high = self.low - margin, self.high + margin
        wide = self.low > 0 and self.high >= _DECADE * self.low
        value = low * (high / low) ** place if wide else low + place * (high - low)
        inside = min(max(value, self.low), self.high)
        return round(inside) if whole else inside


@dataclass(frozen=True)
class Choices:
    """Any of the listed values."""

    values: tuple[Any, ...]

    def at(self, place: float) -> Any:
        """The value whose share of [0, 1] holds ``place``."""
        return self.values[min(max(int(place * len(self.values)), 0), len(self.values) - 1)]


class Space:
    """Raises TheorysimError where the Search names a parameter that is not there, or a range that is none."""

    def __init__(self, search: Search) -> None:
        if not search.over:
            raise TheorysimError("the search varies nothing; name a parameter and its range in over=")
        self.search = search
        self.axes = {name: _axis(name, allowed) for name, allowed in search.over.items()}
        self.specs([0.5] * len(self.axes))

    def specs(self, place: Sequence[float]) -> tuple[Spec, Spec]:
        """Problem and algorithm at a point, one coordinate per parameter."""
        values = {name: axis.at(float(u)) for (name, axis), u in zip(self.axes.items(), place, strict=True)}
        settings = _entries_joined(self.search.problem, values)
        ((problem, algorithm),) = plan(
            self.search.problem, self.search.algorithm, {name: [value] for name, value in settings.items()}
        ).cells()
        return problem, _single(algorithm)


def _axis(name: str, allowed: Any) -> Range | Choices:
    if isinstance(allowed, list) and allowed:
        return Choices(tuple(allowed))
    if not isinstance(allowed, tuple) or len(allowed) != 2:
        raise TheorysimError(f"over: {name}={allowed!r} is no range; give a tuple (low, high) of numbers or a list of choices")
    low, high = (finite(f"over: {name}", end) for end in allowed)
    if not low < high:
        raise TheorysimError(f"over: {name} reaches from {low} to {high}; give a low end below the high one")
    return Range(*allowed)


def _entries_joined(problem: Spec, values: Mapping[str, Any]) -> dict[str, Any]:
    """``spectrum[1]`` becomes ``spectrum``: the problem's own list with that entry replaced."""
    settings: dict[str, Any] = {}
    for name, value in values.items():
        parameter, bracket, place = name.partition("[")
        if not bracket:
            settings[name] = value
            continue
        own = settings.get(parameter, problem.arguments.get(parameter))
        index = place.removesuffix("]")
        if not isinstance(own, tuple) or not index.isdigit() or int(index) >= len(own):
            raise TheorysimError(f"over: {name!r} is no entry of a list that {problem} holds; give it the list first")
        settings[parameter] = (*own[: int(index)], value, *own[int(index) + 1 :])
    return settings


def _single(algorithm: Spec) -> Spec:
    """An algorithm of one variant, with the values themselves in place of lists of one."""
    params = tuple(
        (key, _single(v) if isinstance(v, Spec) else v[0] if isinstance(v, tuple) else v) for key, v in algorithm.params
    )
    return replace(algorithm, params=params)
