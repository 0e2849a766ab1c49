"""Step-size schedules: the factor that multiplies the base step size at step t = 1, 2, ..."""

from __future__ import annotations

import math
from collections.abc import Callable

from theorysim.model import TheorysimError
from theorysim.validation import one_of, positive_integer

Schedule = Callable[[int], float]

SCHEDULES: dict[str, Schedule] = {
    "constant": lambda t: 1.0,
    "inverse_sqrt": lambda t: float(t) ** -0.5,
    "inverse": lambda t: 1.0 / t,
}
_COSINE = "cosine:HORIZON,WARMUP,FLOOR"


def schedule(name: str) -> Schedule:
    """The schedule of that name: ``"constant"``, ``"inverse_sqrt"`` (t^-1/2), ``"inverse"`` (1/t) or a cosine.

    ``"cosine:400,0.1,0.02"``: over a horizon of 400 steps, a linear warm-up to 1 during the first 0.1 of them (t/40), then half a
    cosine wave down to 0.02 at step 400, and 0.02 from there on. ``"cosine:400"``: no warm-up, down to 0.
    Raises TheorysimError for another name, and for a cosine whose horizon is no positive integer, whose warm-up is not in [0, 1)
    or whose floor is not in [0, 1].
    """
    word, _, given = name.partition(":")
    if word == "cosine":
        return cosine(*_numbers(name, given))
    return SCHEDULES[one_of("schedule", name, (*SCHEDULES, _COSINE))]


def cosine(horizon: int, warmup: float = 0.0, floor: float = 0.0) -> Schedule:
    """A linear warm-up over the first ``floor(warmup * horizon)`` steps, then half a cosine wave from 1 down to ``floor``."""
    rising = math.floor(warmup * horizon + 1e-9)  # 0.1 * 30 is a rounding error above 3, 0.7 * 10 one below 7

    def factor(t: int) -> float:
        if t <= rising:
            return t / rising
        along = min(1.0, (t - rising) / (horizon - rising))
        return floor + (1 - floor) * (1 + math.cos(math.pi * along)) / 2

    return factor


def _numbers(name: str, given: str) -> tuple[int, float, float]:
    """Horizon, share of the warm-up and floor."""
    try:
        horizon, warmup, floor = ([float(part) for part in given.split(",")] + [0.0, 0.0])[: max(3, given.count(",") + 1)]
    except ValueError:
        raise TheorysimError(f"schedule={name!r} cannot be read; write {_COSINE}, for instance cosine:400,0.1,0.02") from None
    if not 0 <= warmup < 1 or not 0 <= floor <= 1:
        raise TheorysimError(f"schedule={name!r} is not allowed; the warm-up is a share in [0, 1), the floor one in [0, 1]")
    return positive_integer(f"the horizon of schedule={name!r}", horizon), warmup, floor
