"""Seeds that grow until there is a verdict: 8, 16, 32, ..., each look with its share of the error level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from theorysim.calibration.cases import EARLY, FLOOR, FOUND, LOG, LOG_FITTED, NEVER_VIOLATED, OFF_BY_ONE, OFF_BY_TWO, TRUE, Case
from theorysim.calibration.documented import MEDIAN_SEEDS
from theorysim.calibration.planted import Trial
from theorysim.calibration.rules import NO_SPENDING, WITHIN, estimated, verdicts
from theorysim.calibration.tally import FREE, Key, Limits, Rate, finding_of, limit_line
from theorysim.findings import Finding, Panel, Series, Table
from theorysim.lab import Lab
from theorysim.levels import number_of_looks, share_of_look
from theorysim.model import MIN_SEEDS
from theorysim.rates import estimate, judge
from theorysim.statistics import Floats

TABLE = "growing seeds"
PLAIN: Limits = (93.0, 98.0)
AT_THE_LOOK: Limits = (96.0, 100.0)  # the last look has half of the level, so 97.5 % less what the plain interval may miss

TRUE_FOUND = replace(TRUE, consistent=FOUND)
TWO_FOUND = replace(OFF_BY_TWO, violated=FOUND)
SLOW = Case("(1 +10/sqrt T)/T", violated=NEVER_VIOLATED)
MANY = (
    TRUE_FOUND,
    OFF_BY_ONE,
    replace(OFF_BY_ONE, law="T^-1.1"),
    TWO_FOUND,
    replace(TWO_FOUND, law="T^-1.2"),
    LOG,
    LOG_FITTED,
    EARLY,
    replace(EARLY, law="1/T + 500/T^2"),
    replace(EARLY, law="1/(T + 100)"),
    replace(FLOOR, violated=FOUND),
    SLOW,
)


class Plan(NamedTuple):
    """One kind of noise with the largest number of seeds, and the cases that are judged under it."""

    noise: str
    most: int
    cases: tuple[Case, ...]

    @property
    def column(self) -> str:
        return f"{self.noise} to {self.most}"


PLANS = (
    Plan("d=10", 512, MANY),
    Plan("lognormal 1", 512, (TRUE, OFF_BY_ONE, TWO_FOUND, SLOW)),
    Plan("d=100", 64, (TRUE_FOUND, OFF_BY_ONE, TWO_FOUND, SLOW)),
)
EDGE = (Plan("d=100", 64, (OFF_BY_ONE, replace(OFF_BY_ONE, law="T^-1.1"))),)


@dataclass
class Growth:
    """What became of the replicates of a case: ``verdicts`` (looks, 2), CONSISTENT and VIOLATED at each look; ``covered``, the
    true slope inside the plain 95 % interval at the stopping look, and inside the one at that look's share."""

    verdicts: NDArray[np.int64]
    covered: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, dtype=np.int64))

    def median_seeds(self, replicates: int) -> float:
        stopped = np.cumsum(self.verdicts.sum(axis=1))
        looks = [np.searchsorted(stopped, rank, side="right") for rank in ((replicates - 1) // 2, replicates // 2)]
        return float(np.mean(MIN_SEEDS * 2.0 ** np.minimum(looks, len(stopped) - 1)))


@cache
def grown(trial: Trial, cases: tuple[Case, ...], rule: str = "") -> dict[Case, Growth]:
    """Let every replicate of every case grow from 8 seeds to the trial's, until its first verdict."""
    looks = number_of_looks(trial.seeds)
    found = {case: Growth(np.zeros((looks, 2), dtype=np.int64)) for case in cases}
    for noise in trial.batches():
        for case in cases:
            _grow(found[case], noise * case.curve(trial.grid), trial.grid, case, rule)
    return found


def _grow(growth: Growth, errors: Floats, grid: Floats, case: Case, rule: str) -> None:
    truth = estimate(grid, case.curve(grid), case.log_claim(grid), exact=True).value["theta"]
    looks = len(growth.verdicts)
    for look in range(looks):
        share = 1.0 if rule == NO_SPENDING else share_of_look(look, looks)
        numbers = estimated(grid, errors[:, : MIN_SEEDS * 2**look], case.log_claim(grid))
        consistent, violated = verdicts(judge(numbers, WITHIN, share=share))
        growth.verdicts[look] += consistent.sum(), violated.sum()
        stopped = (consistent | violated) if look < looks - 1 else np.ones_like(consistent)
        off = np.abs(numbers.value["theta"] - truth)[stopped]
        for kind, level in enumerate((1.0, share)):
            reach = stdtrit(numbers.df, 1 - 0.025 * level) * numbers.error["theta"]
            growth.covered[kind] += int(np.sum(off < reach[stopped]))
        errors = errors[~stopped]
        if not len(errors):
            break


def growing_rates(lab: Lab, rule: str = "") -> list[Rate]:
    """All three verdicts of every case, and the coverage of both intervals at the stopping look."""
    rates = []
    for plan, trial in _trials(lab, rule):
        for case, growth in grown(trial, plan.cases, rule).items():
            consistent, violated = (int(n) for n in growth.verdicts.sum(axis=0))
            counts = {
                "CONSISTENT": (consistent, case.consistent),
                "UNDECIDED": (trial.replicates - consistent - violated, FREE),
                "VIOLATED": (violated, case.violated),
                "plain interval covers": (int(growth.covered[0]), FREE if rule else PLAIN),
                "interval at the look's share covers": (int(growth.covered[1]), FREE if rule else AT_THE_LOOK),
            }
            for what, (number, limits) in counts.items():
                rates.append(Rate(Key(TABLE, f"{case.label}: {what}", plan.column), number, trial.replicates, limits))
    return rates


def _trials(lab: Lab, rule: str) -> Iterator[tuple[Plan, Trial]]:
    """The experiments. A broken rule is tried where its error shows: few looks, many replicates, at the edge of the claim."""
    plans, count = (EDGE, 4000) if rule else (PLANS, lab.pick(quick=400, full=2000))
    for place, plan in enumerate(plans):
        lab.progress(place, len(plans))
        yield plan, Trial(plan.noise, plan.most, count, seed=lab.seed)
    lab.progress(len(plans), len(plans))


def growing_seeds(lab: Lab, rule: str = "") -> Finding:
    """Looking again and again spends the error level once: false verdicts stay rare, and the truth is found."""
    medians, panels = [], []
    for plan, trial in _trials(lab, rule):
        growths = grown(trial, plan.cases, rule)
        panels.append(_panel(plan, trial, growths))
        for case, growth in growths.items():
            seeds = growth.median_seeds(trial.replicates)
            medians.append((case.label, plan.column, seeds, MEDIAN_SEEDS.get((case.label, plan.column))))
    found = finding_of(growing_rates(lab, rule), "growing seeds", tuple(panels))
    columns = ("law and claim", "experiment", "measured", "documented")
    median = Table("median of the seeds at the verdict", columns, tuple(medians))
    return replace(found, tables=(*found.tables, median))


def _panel(plan: Plan, trial: Trial, growths: Mapping[Case, Growth]) -> Panel:
    """How many replicates have reached a verdict, over the seeds; verdicts that hardly come out are not drawn."""
    seeds = tuple(float(MIN_SEEDS * 2**look) for look in range(number_of_looks(plan.most)))
    series = []
    for case, growth in growths.items():
        for name, counts in zip(("CONSISTENT", "VIOLATED"), growth.verdicts.T, strict=True):
            reached = 100 * np.cumsum(counts) / trial.replicates
            if reached[-1] > 5:
                series.append(Series(f"{case.label}: {name}", seeds, tuple(reached.tolist())))
    line = limit_line("95 %", 95.0, seeds)
    return Panel(f"verdicts reached, {plan.column} seeds", "seeds R", "reached, %", (*series, line), log_y=False)
