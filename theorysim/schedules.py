"""Step-size schedules: the factor that multiplies the base step size at step t = 1, 2, ..."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from theorysim.model import TheorysimError
from theorysim.validation import finite, non_negative, one_of, positive, positive_integer

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class _Law:
    """``stage``: the factor changes after every so many steps only. ``settled``: from this step on it stays what it is."""

    factor: Schedule
    stage: int = 1
    settled: float = math.inf


SCHEDULES: dict[str, Schedule] = {
    "constant": lambda t: 1.0,
    "inverse_sqrt": lambda t: float(t) ** -0.5,
    "inverse": lambda t: 1.0 / t,
}


def schedule(name: str) -> Schedule:
    """The schedule of that name, s(t) for t = 1, 2, ...

    ``"constant"``; ``"inverse_sqrt"``, t^-1/2; ``"inverse"``, 1/t; ``"inverse_time:0.3"``, 1/(1 + 0.3 (t - 1)).
    ``"linear:T"``, 1 - (t - 1)/T, ``"polynomial:T,p"``, (1 - (t - 1)/T)^p, and ``"cosine_decay:T"``, (1 + cos(pi (t - 1)/T))/2,
    start from 1 in step 1 and are 0 from step T + 1 on, so that all of their T steps move.
    ``"cosine:400,0.1,0.02"``: over a horizon of 400 steps, a linear warm-up to 1 during the first 0.1 of them (t/40), then half a
    cosine wave down to 0.02 at step 400, and 0.02 from there on. ``"cosine:400"``: no warm-up, down to 0; it is one step ahead of
    ``"cosine_decay:400"``, (1 + cos(pi t/400))/2.
    ``"step_decay:2,71"``: stages of 71 steps, C^-(l-1) with C = 2 in stage l = 1, 2, ... ``"step_decay:2,71,14"``: 14 stages, the
    last of which does not end.
    ``"eigencurve:T,kappa,s_0,s_1,..."``: the step sizes of Pan, Ye, Zhang 2021 times L, see ``eigencurve``, which writes it.
    Raises TheorysimError for another name and for arguments that are missing or out of range.
    """
    return _law(name).factor


def stages(name: str, steps: int) -> Iterator[tuple[float, int]]:
    """The first ``steps`` steps of a schedule as stages of one factor, in order: (factor, number of steps)."""
    law, first = _law(name), 1
    while first <= steps:
        left = steps + 1 - first
        length = left if first >= law.settled else min(law.stage, left)
        yield law.factor(first), length
        first += length


def cosine(horizon: int, warmup: float = 0.0, floor: float = 0.0) -> Schedule:
    """A linear warm-up over the first ``floor(warmup * horizon)`` steps, then half a cosine wave from 1 down to ``floor``."""
    rising = math.floor(warmup * horizon + 1e-9)  # 0.1 * 30 is a rounding error above 3, 0.7 * 10 one below 7

    def factor(t: int) -> float:
        if t <= rising:
            return t / rising
        along = min(1.0, (t - rising) / (horizon - rising))
        return floor + (1 - floor) * (1 + math.cos(math.pi * along)) / 2

    return factor


def eigencurve(steps: int, eigenvalues: Iterable[float]) -> str:
    """The text of the schedule that Eigencurve has for a quadratic with these positive eigenvalues and a horizon of ``steps``.

    s_i is the number of eigenvalues in [mu 2^i, mu 2^(i+1)), i = 0..floor(log2 kappa), the largest one, L, in the last of these
    bins. Segment i has Delta_i = steps sqrt(s_i) / sum_j sqrt(s_j) steps, not rounded, and begins at t_i = sum_{j<i} Delta_j;
    with t counted from 0, in segment i

    1/eta_t = L + mu sum_{j<i} 2^j Delta_j + mu 2^i (t - t_i).

    The factor is L eta_t: it begins with 1 and is meant for ``lr="1/lambda_max"``. After ``steps`` the last segment goes on.
    Raises TheorysimError for eigenvalues that are not positive. [Pan, Ye, Zhang 2021, recalled]
    """
    end = positive_integer("steps", steps)
    ascending = sorted(positive("eigenvalue", float(value)) for value in eigenvalues)
    if not ascending:
        raise TheorysimError("an eigencurve schedule needs eigenvalues, and got none; give at least one")
    kappa = ascending[-1] / ascending[0]
    bins = [min(_doublings(value / ascending[0]), _doublings(kappa)) for value in ascending]
    counts = [bins.count(i) for i in range(_doublings(kappa) + 1)]
    return f"eigencurve:{end},{kappa!r},{','.join(map(str, counts))}"


def _doublings(ratio: float) -> int:
    """floor(log2 ratio), where a ratio that is a power of 2 but for rounding counts as that power."""
    return math.floor(math.log2(ratio) + 1e-12)


# ------------------------------------------------------------------------------------------------ from text to a law
class _Form(NamedTuple):
    """How a schedule with arguments is written; how many there may be; what makes a law of them."""

    written: str
    example: str
    fewest: int
    most: float
    build: Callable[..., _Law]


def _law(name: str) -> _Law:
    word, colon, given = name.partition(":")
    form = _FORMS.get(word)
    if form is None:
        allowed = (*SCHEDULES, *(each.written for each in _FORMS.values()))
        return _Law(SCHEDULES[one_of("schedule", name, allowed)], settled=1 if word == "constant" else math.inf)
    try:
        numbers = [float(part) for part in given.split(",")] if colon else []
    except ValueError:
        numbers = []
    if not form.fewest <= len(numbers) <= form.most:
        raise TheorysimError(f"schedule={name!r} cannot be read; write {form.written}, for instance {form.example}")
    return form.build(name, *numbers)


def _cosine(name: str, horizon: float, warmup: float = 0.0, floor: float = 0.0) -> _Law:
    if not 0 <= warmup < 1 or not 0 <= floor <= 1:
        raise TheorysimError(f"schedule={name!r} is not allowed; the warm-up is a share in [0, 1), the floor one in [0, 1]")
    end = _horizon(name, horizon)
    return _Law(cosine(end, warmup, floor), settled=end)


def _cosine_decay(name: str, horizon: float) -> _Law:
    end = _horizon(name, horizon)
    return _Law(lambda t: (1 + math.cos(math.pi * min(1.0, (t - 1) / end))) / 2, settled=end + 1)


def _polynomial(name: str, horizon: float, power: float = 1.0) -> _Law:
    end, power = _horizon(name, horizon), positive(f"the power of schedule={name!r}", power)
    return _Law(lambda t: float(max(0, end - t + 1) / end) ** power, settled=end + 1)


def _inverse_time(name: str, slope: float) -> _Law:
    slope = non_negative(f"the slope of schedule={name!r}", slope)
    return _Law(lambda t: 1 / (1 + slope * (t - 1)))


def _step_decay(name: str, divisor: float, length: float, number: float = math.inf) -> _Law:
    if not 1 < divisor < math.inf:
        raise TheorysimError(f"schedule={name!r} is not allowed; a step decay divides by a finite C > 1")
    stage = positive_integer(f"the stage length of schedule={name!r}", length)
    last = number if number == math.inf else positive_integer(f"the number of stages of schedule={name!r}", number)
    return _Law(lambda t: divisor ** -min((t - 1) // stage, last - 1), stage, (last - 1) * stage + 1)


def _eigencurve(name: str, horizon: float, kappa: float, *counts: float) -> _Law:
    """In units of L: 1/(L eta_t) is piecewise linear in t, with slope 2^i / kappa in segment i."""
    end = _horizon(name, horizon)
    if finite(f"kappa of schedule={name!r}", kappa) < 1:
        raise TheorysimError(f"schedule={name!r} is not allowed; kappa is at least 1")
    if len(counts) != _doublings(kappa) + 1 or not all(0 <= s < math.inf for s in counts) or not any(counts):
        raise TheorysimError(
            f"schedule={name!r} is not allowed; kappa={kappa:g} has {_doublings(kappa) + 1} bins, floor(log2 kappa) + 1: give "
            "one count of at least 0 for each, not all 0, or let theorysim.schedules.eigencurve write the text"
        )
    roots = np.sqrt(counts)
    lengths = end * roots / roots.sum()
    slopes = 2.0 ** np.arange(len(counts)) / kappa
    begins = [*accumulate(lengths[:-1], initial=0.0)]
    levels = [*accumulate(slopes[:-1] * lengths[:-1], initial=1.0)]

    def factor(t: int) -> float:
        i = bisect_right(begins, t - 1) - 1
        return float(1 / (levels[i] + slopes[i] * (t - 1 - begins[i])))

    return _Law(factor)


def _horizon(name: str, value: float) -> int:
    return positive_integer(f"the horizon of schedule={name!r}", value)


_FORMS = {
    "inverse_time": _Form("inverse_time:A", "inverse_time:0.01", 1, 1, _inverse_time),
    "linear": _Form("linear:T", "linear:400", 1, 1, _polynomial),
    "polynomial": _Form("polynomial:T,P", "polynomial:400,2", 2, 2, _polynomial),
    "cosine": _Form("cosine:HORIZON,WARMUP,FLOOR", "cosine:400,0.1,0.02", 1, 3, _cosine),
    "cosine_decay": _Form("cosine_decay:T", "cosine_decay:400", 1, 1, _cosine_decay),
    "step_decay": _Form("step_decay:C,K,N", "step_decay:2,71 or step_decay:2,71,14", 2, 3, _step_decay),
    "eigencurve": _Form("eigencurve:T,KAPPA,S_0,S_1,...", "eigencurve:1000,5,7,2,1", 3, math.inf, _eigencurve),
}
