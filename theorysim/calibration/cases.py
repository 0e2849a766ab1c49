"""Planted laws with the claim they are judged against, and how often either verdict may or must come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from theorysim.calibration.planted import LAWS, Trial
from theorysim.calibration.rules import WITHIN, estimated, verdicts
from theorysim.calibration.tally import FREE, Key, Limits, Rate
from theorysim.rates import judge
from theorysim.statistics import Floats

NEVER_VIOLATED: Limits = (0.0, 1.0)  # a true claim
RARELY_CONSISTENT: Limits = (0.0, 1.5)  # a wrong claim, under logarithms and transients too
AT_THE_EDGE: Limits = (0.0, 2.5)  # a claim that is off by exactly the tolerance
FOUND: Limits = (95.0, 100.0)


@dataclass(frozen=True)
class Case:
    """A law judged against the claim T^exponent, with the limits of both verdicts, in percent."""

    law: str
    exponent: float = -1.0
    consistent: Limits = FREE
    violated: Limits = FREE

    @property
    def label(self) -> str:
        return f"{self.law} as T^{self.exponent:g}"

    def curve(self, grid: Floats) -> Floats:
        return LAWS[self.law](grid)

    def log_claim(self, grid: Floats) -> Floats:
        return np.asarray(self.exponent * np.log(grid))


TRUE = Case("1/T", violated=NEVER_VIOLATED)
OFF_BY_ONE = Case("T^-0.9", consistent=AT_THE_EDGE, violated=NEVER_VIOLATED)
OFF_BY_TWO = Case("T^-0.8", consistent=RARELY_CONSISTENT)
LOG = Case("log T/T", consistent=RARELY_CONSISTENT)
LOG_FITTED = Case("log T/T", -0.81, consistent=RARELY_CONSISTENT)
FLOOR = Case("1/T + 4/T_end", consistent=RARELY_CONSISTENT)
EARLY = Case("1/T + 10/T^2", consistent=RARELY_CONSISTENT, violated=NEVER_VIOLATED)


@cache
def counted(trial: Trial, cases: tuple[Case, ...], rule: str = "", one_sided: bool = False) -> dict[Case, tuple[int, int]]:
    """In how many replicates of every case the verdict is CONSISTENT, and in how many VIOLATED."""
    counts = dict.fromkeys(cases, (0, 0))
    grid = trial.grid
    for noise in trial.batches():
        for case in cases:
            numbers = estimated(grid, noise * case.curve(grid), case.log_claim(grid), rule)
            found = verdicts(judge(numbers, WITHIN, one_sided), rule)
            consistent, violated = (before + int(now.sum()) for before, now in zip(counts[case], found, strict=True))
            counts[case] = consistent, violated
    return counts


def verdict_rates(
    table: str,
    trial: Trial,
    case: Case,
    counts: tuple[int, int],
    found: Sequence[tuple[Case, str]] = (),
    label: str = "",
) -> list[Rate]:
    """Both rates of a case; where (case, verdict) is among ``found``, it must come out in 95 % of the replicates."""
    column, rates = f"{trial.noise}, R={trial.seeds}", []
    for verdict, count, limits in zip(("CONSISTENT", "VIOLATED"), counts, (case.consistent, case.violated), strict=True):
        key = Key(table, f"{label or case.label}: {verdict}", column)
        rates.append(Rate(key, count, trial.replicates, FOUND if (case, verdict) in found else limits))
    return rates
