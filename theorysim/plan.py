"""How a sweep is laid out: which swept names make cells of their own and which the variants of one batch."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.model import Spec, TheorysimError
from theorysim.registry import ALGORITHMS, PROBLEMS, algorithm, parameters, problem
from theorysim.trace import varying
from theorysim.validation import unknown

Place = tuple[str, ...]  # where a parameter sits: ("problem", "dim") or, in a wrapped algorithm, ("algorithm", "of", "lr")


@dataclass(frozen=True)
class Plan:
    """``grid``: swept name -> values. ``places``: where each name sits in the bases. ``in_cells``, ``in_batch``: the names."""

    problem: Spec | str
    algorithm: Spec | str
    grid: Mapping[str, tuple[Any, ...]]
    places: Mapping[str, Place]
    in_cells: tuple[str, ...]
    in_batch: tuple[str, ...]

    @property
    def variants(self) -> int:
        return int(np.prod(self._shape(self.in_batch)))

    def cells(self) -> list[tuple[Spec, Spec]]:
        """Problem and algorithm of every cell; every combination of the batch's names is a variant."""
        columns = zip(*itertools.product(*(self.grid[name] for name in self.in_batch)), strict=True)
        batch = dict(zip(self.in_batch, columns, strict=True))
        points = itertools.product(*(self.grid[name] for name in self.in_cells))
        return [self._specs(batch | dict(zip(self.in_cells, point, strict=True))) for point in points]

    def by_value(self, values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        """Outcomes of one cell, ``(variants, runs)``, as ``(..., values of name, runs)``."""
        return np.moveaxis(values.reshape(*self._shape(self.in_batch), -1), self.in_batch.index(name), -2)

    def on_grid(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Outcomes of all cells, ``(cells, variants, runs)``, as ``(*grid, runs)``."""
        names = self.in_cells + self.in_batch
        order = [names.index(name) for name in self.grid]
        return np.transpose(values.reshape(*self._shape(names), -1), [*order, len(order)])

    def _shape(self, names: tuple[str, ...]) -> list[int]:
        return [len(self.grid[name]) for name in names]

    def _specs(self, settings: Mapping[str, Any]) -> tuple[Spec, Spec]:
        chosen: dict[str, dict[Place, Any]] = {"problem": {}, "algorithm": {}}
        for name, value in settings.items():
            kind, *rest = self.places[name]
            chosen[kind][tuple(rest)] = value
        return _with(problem, self.problem, chosen["problem"]), _with(algorithm, self.algorithm, chosen["algorithm"])


def plan(problem_base: Spec | str, algorithm_base: Spec | str, over: Mapping[str, Sequence[Any]]) -> Plan:
    """Find every name of ``over`` among the parameters; TheorysimError where it fits nowhere or in several places."""
    grid = {name: _listed(name, values) for name, values in over.items()}
    known = _places("problem", problem_base) | _places("algorithm", algorithm_base)
    places = {name: _place(name, known) for name in grid}
    for one, other in itertools.combinations(places, 2):
        if places[one] == places[other]:
            raise TheorysimError(f"{one!r} and {other!r} are the same parameter; name it once")
    in_batch = tuple(name for name, place in places.items() if known[place].annotation == "PerRow")
    if isinstance(algorithm_base, Spec) and (held := set(varying(algorithm_base)) - {places[name][-1] for name in in_batch}):
        raise TheorysimError(f"the algorithm holds a list of values for {', '.join(sorted(held))}; put it into over= instead")
    return Plan(problem_base, algorithm_base, grid, places, tuple(name for name in grid if name not in in_batch), in_batch)


def _places(kind: str, base: Spec | str) -> dict[Place, inspect.Parameter]:
    """All parameters of a Spec, those of a wrapped algorithm included."""
    name, held = _split(base)
    found: dict[Place, inspect.Parameter] = {}
    for key, parameter in parameters(PROBLEMS if kind == "problem" else ALGORITHMS, name).items():
        found[kind, key] = parameter
        if isinstance(inner := held.get(key), Spec):
            found |= {(kind, key, *place[1:]): p for place, p in _places(inner.kind, inner).items()}
    return found


def _place(name: str, known: Mapping[Place, Any]) -> Place:
    parts = tuple(name.split("."))
    fits = [place for place in known if place[-len(parts) :] == parts]
    if not fits:
        raise unknown("parameter of the problem or the algorithm", name, {place[-1] for place in known})
    if len(fits) > 1:
        choices = " or ".join(repr(".".join(place)) for place in fits)
        raise TheorysimError(f"{name!r} fits {len(fits)} parameters; write {choices}")
    return fits[0]


def _with(make: Any, base: Spec | str, settings: Mapping[Place, Any]) -> Spec:
    """A Spec with some parameters set, validated like every other."""
    name, params = _split(base)
    for (key, *rest), value in settings.items():
        params[key] = _with(algorithm, params[key], {tuple(rest): value}) if rest else value
    spec: Spec = make(name, **params)
    return spec


def _split(base: Spec | str) -> tuple[str, dict[str, Any]]:
    return (base, {}) if isinstance(base, str) else (base.name, base.arguments)


def _listed(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    if isinstance(plain, str) or not isinstance(plain, Sequence) or not plain:
        raise TheorysimError(f"over: {name} needs a list of at least one value, not {plain!r}")
    return tuple(tuple(value) if isinstance(value, list) else value for value in plain)
