"""How often the 95 % intervals cover: the slope, the later half, the drift and the last third."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
from scipy.special import stdtrit

from theorysim.calibration.planted import FAMILIES, Trial
from theorysim.calibration.rules import estimated, with_student
from theorysim.calibration.tally import Key, Rate, curve, finding_of, limit_line, replicates
from theorysim.findings import Finding, Panel
from theorysim.lab import Lab

STATISTICS = ("theta", "H", "D", "t3")
SEEDS = (8, 16, 32, 64)
MANY = (*SEEDS, 256)
ENOUGH = (93.0, 98.0)
GROUPS = {"all seeds alike": FAMILIES[:3], "a factor for each seed": FAMILIES[3:]}


@cache
def covered(trial: Trial, rule: str = "") -> tuple[dict[str, int], int]:
    """In how many replicates of 1/T against the claim T^-1 the interval of each statistic holds 0.

    Beside it, in how many the interval of theta would with R - 1 degrees of freedom.
    """
    x = np.log(trial.grid)
    counts, student = dict.fromkeys(STATISTICS, 0), 0
    for noise in trial.batches():
        numbers = estimated(trial.grid, noise / trial.grid, -x, rule)
        quantile = stdtrit(numbers.df, 0.975)
        for name in STATISTICS:
            counts[name] += int(np.sum(np.abs(numbers.value[name]) < quantile * numbers.error[name]))
        quantile = stdtrit(with_student(numbers).df, 0.975)
        student += int(np.sum(np.abs(numbers.value["theta"]) < quantile * numbers.error["theta"]))
    return counts, student


def interval_rates(lab: Lab, rule: str = "", noises: Sequence[str] = FAMILIES, seeds: Sequence[int] = ()) -> list[Rate]:
    """Coverage of every statistic; for the rule as it is, also what t with R - 1 would give for the slope, without limits."""
    rates: list[Rate] = []
    seeds = seeds or lab.pick(quick=SEEDS, full=MANY)
    trials = [Trial(noise, r, replicates(lab, r, (500, 2000), (4000, 10_000)), seed=lab.seed) for noise in noises for r in seeds]
    for place, trial in enumerate(trials):
        lab.progress(place, len(trials))
        column = f"{trial.noise}, R={trial.seeds}"
        counts, student = covered(trial, rule)
        rates += [Rate(Key("intervals", name, column), count, trial.replicates, ENOUGH) for name, count in counts.items()]
        if not rule:
            rates.append(Rate(Key("intervals, t with R - 1", "theta", column), student, trial.replicates))
    lab.progress(len(trials), len(trials))
    return rates


def intervals_cover(lab: Lab, rule: str = "", noises: Sequence[str] = FAMILIES, seeds: Sequence[int] = ()) -> Finding:
    """The 95 % intervals cover in 93 to 98 % of the replicates, whatever the noise."""
    rates = interval_rates(lab, rule, noises, seeds)
    panels, places = [], seeds or MANY
    for name, (what, group) in product(("theta", "D"), GROUPS.items()):
        keys = {noise: [Key("intervals", name, f"{noise}, R={r}") for r in places] for noise in group if noise in noises}
        drawn = [curve(rates, noise, found, places) for noise, found in keys.items()]
        limits = [limit_line(f"{limit:g} %", limit, places) for limit in ENOUGH]
        panels.append(Panel(f"95 % interval of {name}, {what}", "seeds R", "covered, %", (*drawn, *limits), log_y=False))
    return finding_of(rates, "coverage of the 95 % intervals", tuple(panels))
