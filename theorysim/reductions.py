"""What is simpler than a Spec: smaller integers, shorter lists, parameters left at their defaults, rounder numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from theorysim.model import Spec
from theorysim.registry import ALGORITHMS, PROBLEMS, parameters

_ALL = 16  # integers up to this one are tried one by one, so that none is missed
_SINGLE = 32  # lists up to this length lose each entry by itself


class Reduction(NamedTuple):
    """A simpler Spec. ``must_shrink``: worth it only where the iterate gets smaller, for it sets what was left at a default."""

    spec: Spec
    must_shrink: bool = False


def smaller(spec: Spec) -> Iterator[Reduction]:
    """A problem with one integer less, the smallest first, or with entries of its lists left out.

    Where a smaller integer alone is impossible, all other integers are 1 as well. Lists of one length lose the same entries,
    and integers equal to that length follow: a spectrum and a start keep belonging to the same coordinates.
    """
    integers = {key: value for key in _known(spec) if (value := _integer(spec, key)) > 1}
    for key, value in integers.items():
        alike = {other: 1 for other in integers if other != key}
        for less in fewer(value):
            yield Reduction(_with(spec, {key: less}), key not in spec.arguments)
            if alike:
                yield Reduction(_with(spec, {key: less} | alike), True)
    for length in sorted({len(value) for _, value in spec.params if isinstance(value, tuple) and len(value) > 1}):
        yield from (Reduction(each) for each in _shorter(spec, length))


def simpler(spec: Spec) -> Iterator[Reduction]:
    """A problem with one parameter left at its default, or with one number made rounder."""
    for key, value in spec.params:
        if _default(spec, key) is not _REQUIRED:
            yield Reduction(_without(spec, key))
        yield from (Reduction(_with(spec, {key: each})) for each in _rounder_values(spec, key, value))


def simpler_algorithm(spec: Spec, spoken: Collection[str]) -> Iterator[Reduction]:
    """An algorithm, or the one it wraps, with a parameter switched off or at its default, or with one number made rounder.

    ``spoken``: the hyper-parameters that the bound speaks of. The others are prescribed by the theorem, so that they are at most
    switched off (left at a default of 0, None or false): a step size of 0 would "violate" any bound.
    """
    for key, value in spec.params:
        if isinstance(value, Spec):
            yield from (Reduction(_with(spec, {key: inner.spec})) for inner in simpler_algorithm(value, spoken))
            continue
        default = _default(spec, key)
        if default is not _REQUIRED and (key in spoken or default == value or not default):
            yield Reduction(_without(spec, key))
        if key in spoken:
            yield from (Reduction(_with(spec, {key: each})) for each in _rounder_values(spec, key, value))
            yield from (Reduction(_with(spec, {key: less})) for less in fewer(_integer(spec, key)))


def fewer(number: int) -> Iterator[int]:
    """Integers from 1 up to below ``number``: the first ones, then halving the distance to ``number``."""
    yield from range(1, min(number, _ALL + 1))
    gap = number // 2
    while gap and number > _ALL + 1:
        if number - gap > _ALL:
            yield number - gap
        gap //= 2


def rounder(number: float) -> list[float]:
    """Simpler numbers near or instead of this one, the simplest first: 0, 1, -1, a power of ten, fewer digits."""
    if number == 0 or not math.isfinite(number):
        return []
    power = math.copysign(float(f"1e{round(math.log10(abs(number)))}"), number)
    digits = [float(f"{number:.{count}e}") for count in range(3)]
    found = dict.fromkeys([0.0, 1.0, -1.0, power, *digits])
    return sorted((each for each in found if math.isfinite(each) and _rank(each) < _rank(number)), key=_rank)


def _rank(number: float) -> tuple[float, ...]:
    """How complicated a number is; a reduction always lowers it, so that shrinking ends."""
    if number in (0, 1, -1):
        return (0, {0: 0, 1: 1, -1: 2}[int(number)])
    written = Decimal(repr(float(number))).normalize()
    digits = written.as_tuple().digits
    return (1 if digits == (1,) else 2, len(digits), abs(written.adjusted()), float(number < 0))


# ------------------------------------------------------------------------------------------------ the pieces
_REQUIRED = object()


def _known(spec: Spec) -> dict[str, Any]:
    return parameters(PROBLEMS if spec.kind == "problem" else ALGORITHMS, spec.name)


def _default(spec: Spec, key: str) -> Any:
    default = _known(spec)[key].default
    return _REQUIRED if default is _known(spec)[key].empty else default


def _integer(spec: Spec, key: str) -> int:
    """The value of an integer parameter, set or not; 0 for every other one (a real number may well be written 3)."""
    value, annotation = spec.arguments.get(key, _default(spec, key)), _known(spec)[key].annotation
    declared = re.search(r"\bint\b|_empty", str(getattr(annotation, "__name__", annotation)))
    return value if declared and isinstance(value, int) and not isinstance(value, bool) else 0


def _with(spec: Spec, changes: dict[str, Any]) -> Spec:
    return replace(spec, params=tuple(sorted((spec.arguments | changes).items(), key=lambda item: item[0])))


def _without(spec: Spec, key: str) -> Spec:
    return replace(spec, params=tuple(item for item in spec.params if item[0] != key))


def _shorter(spec: Spec, length: int) -> Iterator[Spec]:
    """Without some entries of all lists of that length: one left, then a half, then all but one."""
    everything = range(length)
    kept = [[j] for j in everything] if length <= _ALL else []
    kept += [list(everything[: length // 2]), list(everything[length // 2 :])]
    kept += [[j for j in everything if j != lost] for lost in everything] if length <= _SINGLE else []
    for places in kept:
        changes: dict[str, Any] = {
            key: tuple(value[j] for j in places)
            for key, value in spec.params
            if isinstance(value, tuple) and len(value) == length
        }
        yield _with(spec, changes | {key: len(places) for key in _known(spec) if _integer(spec, key) == length})


def _rounder_values(spec: Spec, key: str, value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        flat = all(isinstance(item, int | float) for item in value)
        if flat and any(item != 1 for item in value) and all(_rank(item) >= _rank(1) for item in value):
            yield (1.0,) * len(value)
        for place, item in enumerate(value if flat else ()):
            yield from ((*value[:place], each, *value[place + 1 :]) for each in rounder(item))
    elif isinstance(value, int | float) and not isinstance(value, bool) and not _integer(spec, key):
        yield from rounder(value)
