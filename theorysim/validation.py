"""Checks of what a user asked for; each raises TheorysimError saying what was asked, what is allowed and the way out.

At the end, the shape of what is read back from a file.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from theorysim.model import TheorysimError


def unknown(kind: str, name: str, known: Iterable[str]) -> TheorysimError:
    """The error for a name nobody registered, with the nearest known ones."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return TheorysimError(f"no {kind} named {name!r}; {hint}known: {', '.join(names) or 'none'}")


def positive_integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or (not isinstance(value, int) and not (isinstance(value, float) and value.is_integer())):
        raise TheorysimError(f"{name}={value!r} is not a whole number; give an integer of at least 1")
    if value < 1:
        raise TheorysimError(f"{name}={value} is not allowed; give an integer of at least 1")
    return int(value)


def at_least(name: str, value: Any, low: int, why: str) -> int:
    number = positive_integer(name, value)
    if number < low:
        raise TheorysimError(f"{name}={number} is not allowed: {why}; give at least {low}")
    return number


def positive(name: str, value: Any) -> float:
    number = finite(name, value)
    if number <= 0:
        raise TheorysimError(f"{name}={value} is not allowed; give a number above 0")
    return number


def non_negative(name: str, value: Any) -> float:
    number = finite(name, value)
    if number < 0:
        raise TheorysimError(f"{name}={value} is not allowed; give a number of at least 0")
    return number


def finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TheorysimError(f"{name}={value!r} is not a number")
    if not math.isfinite(value):
        raise TheorysimError(f"{name}={value} is not finite; give a finite number")
    return float(value)


def one_of(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    choices = tuple(allowed)
    if value not in choices:
        raise TheorysimError(f"{name}={value!r} is not allowed; choose one of {', '.join(map(str, choices))}")
    return value


# ------------------------------------------------------------------------------------------------ what a file holds
@dataclass(frozen=True)
class Kind:
    """Values of one kind: ``what`` they are, and a test that they pass."""

    what: str
    holds: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """A number as JSON holds it: None, or the texts "inf", "-inf" and "nan" for what is not finite."""
    return value is None or value in ("inf", "-inf", "nan") or isinstance(value, int | float)


NUMBER = Kind("a number", is_number)


def mismatch(value: Any, shape: Any, where: str) -> str:
    """Empty, or the first place where ``value`` has not the shape it must have.

    A shape is a Kind, a type or a tuple of types, [shape] for a list of that shape, or {key: shape} for a dictionary with these
    keys and any others.
    """
    if isinstance(shape, Kind):
        return "" if shape.holds(value) else f"{where} is {str(value)[:40]!r}, not {shape.what}"
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is not a list"
        return next(filter(None, (mismatch(item, shape[0], f"{where}[{n}]") for n, item in enumerate(value))), "")
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where} is not a record"
        if missing := [key for key in shape if key not in value]:
            return f"{where} has no {missing[0]!r}"
        return next(filter(None, (mismatch(value[key], inner, f"{where}.{key}") for key, inner in shape.items())), "")
    return "" if isinstance(value, shape) else f"{where} is {str(value)[:40]!r}, which has the wrong type"
