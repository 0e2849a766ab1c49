"""What is on its way to workers and back: how much at once, what is sent again, and which cell is to blame for a dead worker."""

from __future__ import annotations

import os
import pickle
import threading
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Protocol

from theorysim.model import Cell, TheorysimError

_WINDOW = 2  # items on their way per worker: one it works on, one that waits
_FORGOTTEN = 10  # times that an item may be forgotten by its scheduler
TICK = 0.5  # seconds after which a waiting client looks after its workers

Outcome = Any  # bytes, a Fate, or the exception that kept an item from being begun


class ClusterFault(UserWarning):
    """A part of the cluster was lost; the work goes on, or waits."""


def warn(text: str) -> None:
    """Tell the user of a fault that the work survives."""
    warnings.warn(text, ClusterFault, stacklevel=3)


class Fate(Enum):
    """What may become of an item that has no result: its scheduler forgot it, or its workers died."""

    FORGOTTEN = 1
    KILLED = 2


class Line(Protocol):
    """The way to the workers. ``client``: what an item is sent with; what was sent with an earlier one is forgotten.
    ``size``: the number of workers, as far as it is known."""

    client: Any
    size: int

    def key(self, item: Any) -> str | None: ...  # of a cell: the same for the same result

    def tend(self) -> None: ...  # looks after workers and scheduler, and waits until it is there

    def send(self, name: tuple[str, ...], key: str | None, function: bytes, item: Any) -> Any: ...  # a future, or None

    def fetch(self, futures: Sequence[Any]) -> list[Outcome]: ...


class Traffic:
    """What all maps of one cluster share. ``changed`` guards the rest and tells of every change.

    ``flying``: items on their way. ``suspected``: those that were on workers that died, and are to be run alone.
    ``kept``: answers by key, while several claims ask for the same cells; else None. ``stopped``: maps shall give up.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.flying, self.suspected, self.stopped = 0, 0, False
        self.kept: dict[str, bytes] | None = None

    def stop(self, stopped: bool) -> None:
        """Make the maps of other threads give up, or allow new ones."""
        with self.changed:
            self.stopped = stopped
            self.changed.notify_all()


class Stopped(Exception):
    """The work of another thread failed, so this one's is not wanted any more."""


@dataclass(frozen=True)
class _Trip:
    """An item on its way. ``key``: of a cell. ``number``: of times it was sent. ``alone``: with nothing else at work."""

    index: int
    key: str | None
    number: int = 0
    alone: bool = False


class Flights:
    """One call of map: which items wait, which are on their way, and which are suspected."""

    def __init__(self, traffic: Traffic, line: Line, function: bytes, items: Sequence[Any]) -> None:
        self._traffic, self._line, self._function, self._items = traffic, line, function, items
        self._waiting = deque(_Trip(index, line.key(item)) for index, item in enumerate(items))
        self._suspects: deque[_Trip] = deque()
        self._flying: dict[_Trip, tuple[Any, Any]] = {}
        self._landed: list[tuple[_Trip, Outcome | None]] = []  # None: to be fetched
        self._group = os.urandom(16).hex()

    def results(self) -> Iterator[tuple[int, Any]]:
        """``(index, result)`` in the order of arrival; the first error when all results that arrived with it are out."""
        while self._waiting or self._flying or self._suspects:
            self._line.tend()
            self._launch()
            with self._traffic.changed:
                self._traffic.changed.wait_for(self._something_to_do, TICK)
                landed, self._landed = self._landed, []
                if self._traffic.stopped:
                    raise Stopped
            landed += [(trip, Fate.FORGOTTEN) for trip, (_, by) in self._flying.items() if by is not self._line.client]
            yield from self._sorted(landed)

    def close(self) -> None:
        """Give up what is on its way."""
        for trip in list(self._flying):
            self._left(trip)
        with self._traffic.changed:
            self._traffic.suspected -= len(self._suspects)
            self._traffic.changed.notify_all()

    # -------------------------------------------------------------------------------------------- there
    def _something_to_do(self) -> bool:
        return bool(self._landed or self._traffic.stopped or self._next())

    def _next(self) -> deque[_Trip] | None:
        """From which queue the next item may start now, if from any. A suspect has all workers for itself."""
        traffic = self._traffic
        if self._suspects and not traffic.flying:
            return self._suspects
        free = not traffic.suspected and traffic.flying < _WINDOW * max(1, self._line.size)
        return self._waiting if self._waiting and free else None

    def _launch(self) -> None:
        while True:
            with self._traffic.changed:
                queue = self._next()
                if queue is None:
                    return
                trip = queue.popleft()
                self._traffic.flying += 1
            kept = (self._traffic.kept or {}).get(trip.key or "")
            if kept is not None:
                self._flying[trip] = None, self._line.client
                self._landed.append((trip, kept))
            else:
                self._send(trip)

    def _send(self, trip: _Trip) -> None:
        self._flying[trip] = None, self._line.client
        name = (trip.key or f"{self._group}-{trip.index}", str(trip.number))
        future = self._line.send(name, trip.key, self._function, self._items[trip.index])
        if future is None:
            self._landed.append((trip, Fate.FORGOTTEN))
            return
        self._flying[trip] = future, future.client

        def landed(_: Any) -> None:
            with self._traffic.changed:
                self._landed.append((trip, None))
                self._traffic.changed.notify_all()

        future.add_done_callback(landed)

    # -------------------------------------------------------------------------------------------- and back
    def _sorted(self, landed: list[tuple[_Trip, Outcome | None]]) -> Iterator[tuple[int, Any]]:
        """Results out, what must be sent again back into its queue, errors up."""
        known = {trip: outcome for trip, outcome in landed if trip in self._flying}
        unknown = [trip for trip, outcome in known.items() if outcome is None]
        known |= dict(zip(unknown, self._line.fetch([self._flying[trip][0] for trip in unknown]), strict=True))
        for trip, outcome in known.items():
            self._left(trip, outcome)
        errors = {}
        for trip, outcome in known.items():
            if isinstance(outcome, bytes):
                fine, result = pickle.loads(outcome)
                if fine:
                    yield trip.index, result
                else:
                    errors[trip.index] = result
            elif (error := self._again(trip, outcome)) is not None:
                errors[trip.index] = error
        if errors:
            raise errors[min(errors)]

    def _left(self, trip: _Trip, outcome: Outcome = None) -> None:
        future, _ = self._flying.pop(trip)
        if future is not None:
            with suppress(Exception):
                future.release()
        with self._traffic.changed:
            if self._traffic.kept is not None and trip.key and isinstance(outcome, bytes):
                self._traffic.kept[trip.key] = outcome
            self._traffic.flying -= 1
            self._traffic.suspected -= trip.alone
            self._traffic.changed.notify_all()

    def _again(self, trip: _Trip, outcome: Outcome) -> Exception | None:
        """Send an item once more, or say why not."""
        if isinstance(outcome, Exception):
            return outcome
        if outcome is Fate.FORGOTTEN and trip.number < _FORGOTTEN:
            with self._traffic.changed:
                # A suspect stays one: it is still not known what ended its worker
                self._traffic.suspected += trip.alone
            (self._suspects if trip.alone else self._waiting).appendleft(replace(trip, number=trip.number + 1))
            return None
        if outcome is Fate.KILLED and not trip.alone:
            with self._traffic.changed:
                self._traffic.suspected += 1
            self._suspects.append(replace(trip, number=trip.number + 1, alone=True))
            return None
        what = _name(self._items[trip.index], trip.index)
        if outcome is Fate.FORGOTTEN:
            return TheorysimError(
                f"{what} was forgotten {trip.number + 1} times by the scheduler; look there who cancels tasks. Finished cells "
                "are kept"
            )
        return TheorysimError(
            f"{what} ended its worker again and again, the last time with nothing else at work: too little memory, or a crash "
            "in compiled code; make it smaller, or run it without --jobs and --cluster to see more. Finished cells are kept"
        )


def _name(item: Any, index: int) -> str:
    if not isinstance(item, Cell):
        return f"item {index + 1} of a claim"
    runs = f"runs {item.first_run} to {item.first_run + item.runs - 1}"
    return f"the cell {item.algorithm} on {item.problem}, {item.steps} steps, {runs},"
