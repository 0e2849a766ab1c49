"""Step-size schedules: the factor that multiplies the base step size at step t = 1, 2, ..."""

from __future__ import annotations

from collections.abc import Callable

from theorysim.validation import one_of

Schedule = Callable[[int], float]

SCHEDULES: dict[str, Schedule] = {
    "constant": lambda t: 1.0,
    "inverse_sqrt": lambda t: float(t) ** -0.5,
    "inverse": lambda t: 1.0 / t,
}


def schedule(name: str) -> Schedule:
    """The schedule of that name; TheorysimError for another."""
    return SCHEDULES[one_of("schedule", name, SCHEDULES)]
