"""Words of the command line as values and Specs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from theorysim.model import Spec, TheorysimError
from theorysim.registry import ALGORITHMS, algorithm, parameters

_WORDS = {"none": None, "true": True, "false": False}
_NESTED = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*", re.DOTALL)


F = TypeVar("F", bound=Callable[..., Any])


def worker_options(command: F) -> F:
    """Give a command the options ``--jobs`` and ``--cluster``."""
    cluster = click.option("--cluster", metavar="ADDRESS", help="Compute on the workers of this Dask scheduler, tcp://host:8786.")
    return click.option("--jobs", type=int, metavar="N", help="Compute in N processes of this machine.")(cluster(command))


def parse_value(text: str) -> Any:
    """A number, truth value, None or list (``[0.1,1]`` or ``0.1,1``); anything else, and anything in quotes, is text."""
    word = text.strip()
    if len(word) >= 2 and word[0] == word[-1] and word[0] in "'\"":
        return word[1:-1]
    bracketed = word.startswith("[") and word.endswith("]")
    items = _split(word[1:-1] if bracketed else word)
    if bracketed or len(items) > 1:
        return [parse_value(item) for item in items if item.strip()]
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return word


def _split(text: str) -> list[str]:
    """The parts between commas that lie in no bracket and no quotes: ``max(a, b), 1`` has two."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        depth += (letter in "([") - (letter in ")]") if not quote else 0
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def parse_parameters(option: str, pairs: Iterable[str]) -> dict[str, Any]:
    """``key=value`` words as a dictionary; TheorysimError for a word without ``=`` and for a key given twice."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key or not value.strip():
            raise TheorysimError(f"{option} {pair!r} is no parameter; write {option} {key or 'key'}=value")
        if key in found:
            raise TheorysimError(f"{option} {key} is given twice; several values are one list: {option} {key}=[0.1,1]")
        found[key] = parse_value(value)
    return found


def parse_algorithm(word: str, params: dict[str, Any]) -> Spec:
    """The Spec of ``adagrad`` or of a wrapped algorithm, ``average(adagrad)``.

    A parameter goes to the innermost algorithm that knows it.
    """
    names = _nesting(word)
    slots = [_slot(name) for name in names]
    if slots[-1] is not None:
        raise TheorysimError(f"{names[-1]} wraps another algorithm; write for example '{names[-1]}(sgd)'")
    for name, slot in zip(names[:-1], slots, strict=False):
        if slot is None:
            raise TheorysimError(f"{name} does not wrap another algorithm; write {name} alone")
    owned: list[dict[str, Any]] = [{} for _ in names]
    for key, value in params.items():
        owned[_owner(key, names, slots)][key] = value
    spec = algorithm(names[-1], **owned[-1])
    for name, slot, own in reversed(list(zip(names[:-1], slots, owned, strict=False))):
        spec = algorithm(name, **{str(slot): spec}, **own)
    return spec


def _owner(key: str, names: list[str], slots: list[str | None]) -> int:
    """The place of the innermost algorithm with a parameter ``key``; of the innermost one if there is none."""
    knows = [i for i, name in enumerate(names) if key in parameters(ALGORITHMS, name) and key != slots[i]]
    return max(knows, default=len(names) - 1)


def _nesting(word: str) -> list[str]:
    """``a(b(c))`` as ``[a, b, c]``."""
    names: list[str] = []
    rest: str | None = word
    while rest is not None:
        match = _NESTED.fullmatch(rest)
        if match is None:
            raise TheorysimError(f"{word!r} is no algorithm; write NAME or 'WRAPPER(NAME)', and parameters as -a key=value")
        names.append(match[1])
        rest = match[2]
    return names


def _slot(name: str) -> str | None:
    """The parameter of a wrapper that takes the wrapped algorithm; None for an algorithm that wraps none."""
    known = parameters(ALGORITHMS, name).items()
    return next((key for key, p in known if getattr(p.annotation, "__name__", p.annotation) == "Algorithm"), None)
