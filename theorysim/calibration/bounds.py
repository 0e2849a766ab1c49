"""Upper bounds: the one-sided rate, a bound in expectation at all checkpoints at once, the upper limit of a skewed mean."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.special import stdtrit

from theorysim.calibration.cases import AT_THE_EDGE, FOUND, NEVER_VIOLATED, RARELY_CONSISTENT, Case, counted, verdict_rates
from theorysim.calibration.planted import Trial
from theorysim.calibration.rules import NO_BONFERRONI, PLAIN_SCALE, STUDENT, TWO_SIDED
from theorysim.calibration.tally import FREE, Key, Limits, Rate, curve, finding_of, limit_line, replicates
from theorysim.findings import Finding, Panel
from theorysim.lab import Lab
from theorysim.statistics import (
    LEVEL_CONSISTENT,
    LEVEL_VIOLATED,
    Bools,
    Floats,
    bound_tests,
    kish,
    mean_with_error,
    p_above,
)

SEEDS = (8, 16, 32, 64, 128, 256)
FASTER = Case("T^-1.2", violated=NEVER_VIOLATED)
SLOWER = Case("T^-0.8", consistent=RARELY_CONSISTENT)
ONE_SIDED = (
    FASTER,
    Case("1/T", violated=NEVER_VIOLATED),
    Case("T^-0.9", consistent=AT_THE_EDGE, violated=NEVER_VIOLATED),
    SLOWER,
)
POWER = {(FASTER, "CONSISTENT"): 32, (SLOWER, "VIOLATED"): 128}


def one_sided_rates(lab: Lab, rule: str = "", seeds: Sequence[int] = SEEDS) -> list[Rate]:
    """Both verdicts on "the error falls at least like T^-1", d = 10."""
    rates = []
    for place, r in enumerate(seeds):
        lab.progress(place, len(seeds))
        trial = Trial("d=10", r, replicates(lab, r, (500, 1000), (4000, 10_000)), seed=lab.seed)
        found = [key for key, least in POWER.items() if r >= least]
        for case, counts in counted(trial, ONE_SIDED, one_sided=rule != TWO_SIDED).items():
            rates += verdict_rates("one-sided", trial, case, counts, found, f"{case.law} as at most T^-1")
    lab.progress(len(seeds), len(seeds))
    return rates


def faster_never_fails(lab: Lab, rule: str = "", seeds: Sequence[int] = SEEDS) -> Finding:
    """A rate claimed as an upper bound is not VIOLATED by a faster one, and a slower one is found."""
    rates = one_sided_rates(lab, rule, seeds)
    series = []
    for case, verdict in ((ONE_SIDED[0], "CONSISTENT"), (ONE_SIDED[1], "CONSISTENT"), (ONE_SIDED[3], "VIOLATED")):
        row = f"{case.law} as at most T^-1: {verdict}"
        series.append(curve(rates, f"{case.law}: {verdict}", [Key("one-sided", row, f"d=10, R={r}") for r in seeds], seeds))
    panel = Panel("at most T^-1, d=10", "seeds R", "verdict, %", tuple(series), log_y=False)
    return finding_of(rates, "one-sided rates", (panel,))


# ------------------------------------------------------------------------------------------------ a bound in expectation
BOUND_SEEDS = (8, 16, 32, 64, 256)
EXCESS = {"tight": 1.0, "exceeded by 25 %": 1.25, "met by 25 %": 0.75}
BOUND_NOISES = ("d=10", "d=1", "fresh", "lognormal 1")


def bound_verdicts(errors: Floats, rule: str = "") -> tuple[Bools, Bools]:
    """CONSISTENT and VIOLATED for "mean(errors) <= 1 at every checkpoint", errors (n, R, m): the rule of bound_in_expectation."""
    tests = bound_tests(errors)
    p_violated = np.min(tests.p_above, axis=-1) if rule == NO_BONFERRONI else tests.p_violated
    return tests.p_consistent < LEVEL_CONSISTENT, p_violated < LEVEL_VIOLATED


@cache
def bound_counts(trial: Trial, rule: str = "") -> dict[str, tuple[int, int]]:
    """In how many replicates the bound is found CONSISTENT, and in how many VIOLATED, by how the mean lies to it."""
    counts = dict.fromkeys(EXCESS, (0, 0))
    for noise in trial.batches():
        for name, excess in EXCESS.items():
            found = bound_verdicts(excess * noise, rule)
            consistent, violated = (before + int(now.sum()) for before, now in zip(counts[name], found, strict=True))
            counts[name] = consistent, violated
    return counts


def bound_rates(lab: Lab, rule: str = "", noises: Sequence[str] = BOUND_NOISES, seeds: Sequence[int] = BOUND_SEEDS) -> list[Rate]:
    """How often a bound is found VIOLATED (or CONSISTENT) that is tight, exceeded or met with room at all checkpoints."""
    trials = [Trial(n, r, replicates(lab, r, (500, 2000), (4000, 10_000)), seed=lab.seed) for n in noises for r in seeds]
    rates = []
    for place, trial in enumerate(trials):
        lab.progress(place, len(trials))
        column = f"{trial.noise}, R={trial.seeds}"
        for name, (consistent, violated) in bound_counts(trial, rule).items():
            found = trial.noise in ("d=10", "fresh") and trial.seeds >= 64
            limits: dict[str, tuple[Limits, Limits]] = {
                "tight": ((0.0, 2.0), NEVER_VIOLATED),
                "exceeded by 25 %": ((0.0, 2.0), FOUND if found else FREE),
                "met by 25 %": (FOUND if found else FREE, NEVER_VIOLATED),
            }
            for verdict, count, limit in zip(("CONSISTENT", "VIOLATED"), (consistent, violated), limits[name], strict=True):
                rates.append(Rate(Key("bound in expectation", f"{name}: {verdict}", column), count, trial.replicates, limit))
    lab.progress(len(trials), len(trials))
    return rates


def bounds_in_expectation(
    lab: Lab, rule: str = "", noises: Sequence[str] = BOUND_NOISES, seeds: Sequence[int] = BOUND_SEEDS
) -> Finding:
    """A bound that is met with equality at all 13 checkpoints is not VIOLATED; one that is exceeded by 25 % is found."""
    rates = bound_rates(lab, rule, noises, seeds)
    panels = []
    for name, line in (("tight", 1.0), ("exceeded by 25 %", 95.0)):
        keys = {noise: [Key("bound in expectation", f"{name}: VIOLATED", f"{noise}, R={r}") for r in seeds] for noise in noises}
        series = [*(curve(rates, noise, found, seeds) for noise, found in keys.items()), limit_line(f"{line:g} %", line, seeds)]
        panels.append(Panel(f"a bound at 13 checkpoints, {name}", "seeds R", "VIOLATED, %", tuple(series), log_y=False))
    return finding_of(rates, "bounds in expectation", tuple(panels))


# ------------------------------------------------------------------------------------------------ upper limits of a mean
SCALES = {"": "log scale", PLAIN_SCALE: "plain scale", STUDENT: "plain scale, t with R - 1"}
LIMIT_SEEDS = (8, 16, 32, 64)
COVERS: Limits = (90.0, 100.0)


@cache
def covering(trial: Trial, rule: str = "") -> int:
    """In how many replicates the upper 98 % limit of the mean at the last checkpoint is not below the true mean, 1."""
    count = 0
    for noise in trial.batches():
        last = noise[..., -1:]
        if rule:
            seeds = last.shape[-2]
            mean, error = last.mean(axis=-2), last.std(axis=-2, ddof=1) / np.sqrt(seeds)
            df = seeds - 1.0 if rule == STUDENT else kish(last, -2)[1]
            count += int(np.sum(mean + stdtrit(df, 1 - LEVEL_CONSISTENT) * error >= 1))
        else:
            z, error, df = mean_with_error(last, False)
            count += int(np.sum(p_above(0.0, z, error, df) >= LEVEL_CONSISTENT))
    return count


def limit_rates(
    lab: Lab, rules: Sequence[str] = tuple(SCALES), judged: str = "", seeds: Sequence[int] = LIMIT_SEEDS
) -> list[Rate]:
    """Coverage of the upper limit on both scales under lognormal scales; limits for the one that is ``judged``."""
    rates = []
    for r in seeds:
        trial = Trial("lognormal 1", r, lab.pick(quick=2000, full=10_000), seed=lab.seed)
        for rule in rules:
            key = Key("upper 98 % limit", f"{SCALES[rule]}: covers", f"lognormal 1, R={r}")
            rates.append(Rate(key, covering(trial, rule), trial.replicates, COVERS if rule == judged else FREE))
    return rates


def upper_limits_of_a_skewed_mean(lab: Lab, rule: str = "") -> Finding:
    """The upper 98 % limit of the mean of lognormal errors covers in 90 % or more: on the log scale with Kish's degrees."""
    rates = limit_rates(lab, judged=rule)
    series = []
    for scale in SCALES.values():
        keys = [Key("upper 98 % limit", f"{scale}: covers", f"lognormal 1, R={r}") for r in LIMIT_SEEDS]
        series.append(curve(rates, scale, keys, LIMIT_SEEDS))
    lines = (limit_line("90 %", 90.0, LIMIT_SEEDS), limit_line("98 %", 98.0, LIMIT_SEEDS))
    panel = Panel("upper 98 % limit of a lognormal mean", "seeds R", "covers, %", (*series, *lines), log_y=False)
    return finding_of(rates, "upper limits", (panel,))
