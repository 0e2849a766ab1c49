"""Step-size schedules: the factor that multiplies the base step size at step t = 1, 2, ..."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

from theorysim.model import TheorysimError
from theorysim.validation import one_of, positive_integer

Schedule = Callable[[int], float]

SCHEDULES: dict[str, Schedule] = {
    "constant": lambda t: 1.0,
    "inverse_sqrt": lambda t: float(t) ** -0.5,
    "inverse": lambda t: 1.0 / t,
}
_COSINE = "cosine:HORIZON,WARMUP,FLOOR"
_DECAY = "step_decay:C,K"


def schedule(name: str) -> Schedule:
    """The schedule of that name: ``"constant"``, ``"inverse_sqrt"`` (t^-1/2), ``"inverse"`` (1/t), a cosine or a step decay.

    ``"cosine:400,0.1,0.02"``: over a horizon of 400 steps, a linear warm-up to 1 during the first 0.1 of them (t/40), then half a
    cosine wave down to 0.02 at step 400, and 0.02 from there on. ``"cosine:400"``: no warm-up, down to 0.
    ``"step_decay:2,71"``: stages of 71 steps, C^-(l-1) with C = 2 in stage l = 1, 2, ...
    Raises TheorysimError for another name, for a cosine whose horizon is no positive integer, whose warm-up is not in [0, 1) or
    whose floor is not in [0, 1], and for a step decay without a finite C > 1 and a positive integer K.
    """
    word, _, given = name.partition(":")
    if word == "cosine":
        return cosine(*_numbers(name, given))
    if word == "step_decay":
        divisor, length = _decay(name, given)
        return lambda t: divisor ** -((t - 1) // length)
    return SCHEDULES[one_of("schedule", name, (*SCHEDULES, _COSINE, _DECAY))]


def stages(name: str, steps: int) -> Iterator[tuple[float, int]]:
    """The first ``steps`` steps of a schedule as stages of one factor, in order: (factor, number of steps)."""
    factor = schedule(name)
    word, _, given = name.partition(":")
    if word in ("constant", "step_decay"):
        length = steps if word == "constant" else _decay(name, given)[1]
        yield from ((factor(first), min(length, steps + 1 - first)) for first in range(1, steps + 1, max(1, length)))
    else:
        yield from ((value, len(list(same))) for value, same in itertools.groupby(range(1, steps + 1), factor))


def cosine(horizon: int, warmup: float = 0.0, floor: float = 0.0) -> Schedule:
    """A linear warm-up over the first ``floor(warmup * horizon)`` steps, then half a cosine wave from 1 down to ``floor``."""
    rising = math.floor(warmup * horizon + 1e-9)  # 0.1 * 30 is a rounding error above 3, 0.7 * 10 one below 7

    def factor(t: int) -> float:
        if t <= rising:
            return t / rising
        along = min(1.0, (t - rising) / (horizon - rising))
        return floor + (1 - floor) * (1 + math.cos(math.pi * along)) / 2

    return factor


def _decay(name: str, given: str) -> tuple[float, int]:
    """C and K."""
    try:
        divisor, length = (float(part) for part in given.split(","))
    except ValueError:
        raise TheorysimError(f"schedule={name!r} cannot be read; write {_DECAY}, for instance step_decay:2,71") from None
    if not 1 < divisor < math.inf:
        raise TheorysimError(f"schedule={name!r} is not allowed; a step decay divides by a finite C > 1")
    return divisor, positive_integer(f"the stage length of schedule={name!r}", length)


def _numbers(name: str, given: str) -> tuple[int, float, float]:
    """Horizon, share of the warm-up and floor."""
    try:
        horizon, warmup, floor = ([float(part) for part in given.split(",")] + [0.0, 0.0])[: max(3, given.count(",") + 1)]
    except ValueError:
        raise TheorysimError(f"schedule={name!r} cannot be read; write {_COSINE}, for instance cosine:400,0.1,0.02") from None
    if not 0 <= warmup < 1 or not 0 <= floor <= 1:
        raise TheorysimError(f"schedule={name!r} is not allowed; the warm-up is a share in [0, 1), the floor one in [0, 1]")
    return positive_integer(f"the horizon of schedule={name!r}", horizon), warmup, floor
