"""Where cells are worked on. One door for all: an executor maps a function over items and hands results back as they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """``map(function, items)`` yields ``(index, result)`` pairs in the order of completion."""

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]: ...


class InProcess:
    """One item after the other, in this process."""

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        for index, item in enumerate(items):
            yield index, function(item)
