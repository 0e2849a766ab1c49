"""Checks of what a user asked for; each raises TheorysimError saying what was asked, what is allowed and the way out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
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
