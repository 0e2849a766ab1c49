"""Where cells are worked on. One door for all: an executor maps a function over items and hands results back as they end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeVar

from theorysim.backend import Backend, select

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[str, int, int], None]


class Executor(Protocol):
    """``map(function, items)`` yields ``(index, result)`` pairs in the order of completion.

    ``each(function, items)`` yields the results in order; the function is one that maps by itself, a claim, and an executor
    with many workers calls it for several items at once, to have work for all of them. ``device``: the name of the device
    that functions find where they are worked on; None: that of this process. ``about``: what a report says of the workers.
    """

    @property
    def device(self) -> str | None: ...

    @property
    def about(self) -> Mapping[str, str]: ...

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]: ...

    def each(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]: ...


class InProcess:
    """One item after the other, in this process."""

    device: str | None = None
    about: Mapping[str, str] = MappingProxyType({})

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        for index, item in enumerate(items):
            yield index, function(item)

    def each(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        return map(function, items)


def backend_beside(executor: Executor, device: str | Backend) -> Backend:
    """Where this process computes what does not travel to the workers: it may lack a device that they have."""
    return select(device if executor.device is None else "cpu" if executor.device == "cpu" else "auto")


class Together:
    """The progress of parts that are worked on at once, as that of one whole: it may be told from several threads."""

    def __init__(self, whole: str, progress: Progress) -> None:
        self._whole, self._progress, self._lock = whole, progress, threading.Lock()
        self._done, self._total, self._before = dict[str, int](), dict[str, int](), 0

    def __call__(self, part: str, done: int, total: int) -> None:
        """``done`` of ``total`` cells of a part; a smaller number than last time begins the part's next batch of cells."""
        with self._lock:
            if done < self._done.get(part, 0):
                self._before += self._done[part]
            self._done[part], self._total[part] = done, total
            self._progress(self._whole, self._before + sum(self._done.values()), self._before + sum(self._total.values()))
