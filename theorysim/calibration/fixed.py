"""Verdicts at a fixed number of seeds: planted laws against right and wrong claims, and transients of all sizes."""

from __future__ import annotations

from collections.abc import Sequence

from theorysim.calibration.cases import (
    EARLY,
    FLOOR,
    LOG,
    LOG_FITTED,
    NEVER_VIOLATED,
    OFF_BY_ONE,
    OFF_BY_TWO,
    RARELY_CONSISTENT,
    TRUE,
    Case,
    counted,
    verdict_rates,
)
from theorysim.calibration.planted import FAMILIES, Trial
from theorysim.calibration.tally import FREE, Key, Limits, Rate, curve, finding_of, limit_line, replicates
from theorysim.findings import Finding, Panel
from theorysim.lab import Lab

SEEDS = (8, 16, 32, 64, 128, 256)
EXPERIMENTS = (
    *(("d=10", r) for r in SEEDS),
    *(("d=100", r) for r in (8, 16, 32)),
    *(("lognormal 1", r) for r in (64, 256)),
)
CASES = (
    TRUE,
    OFF_BY_ONE,
    Case("T^-0.85", consistent=RARELY_CONSISTENT),
    OFF_BY_TWO,
    LOG,
    LOG_FITTED,
    EARLY,
    Case("1/T + 10/T^2", -1.07, consistent=RARELY_CONSISTENT),
    Case("1/T + 50/T^2", consistent=RARELY_CONSISTENT, violated=NEVER_VIOLATED),
    Case("1/T + 50/T^2", -1.23, consistent=RARELY_CONSISTENT),
    Case("1/T + 0.3/T_end"),
    FLOOR,
)
# From how many seeds on a verdict must come out, by noise.
POWER = {
    (TRUE, "CONSISTENT"): {"d=10": 256, "d=100": 32},
    (OFF_BY_TWO, "VIOLATED"): {"d=10": 128, "d=100": 16, "lognormal 1": 256},
    (FLOOR, "VIOLATED"): {"d=10": 16, "d=100": 8, "lognormal 1": 64},
}
LATE = (64.0, 65536.0)
LATE_CASES = (TRUE, OFF_BY_ONE, OFF_BY_TWO, LOG, Case("log T/T", -0.86, consistent=RARELY_CONSISTENT))


def fixed_rates(lab: Lab, rule: str = "", experiments: Sequence[tuple[str, int]] = EXPERIMENTS) -> list[Rate]:
    """Both verdicts of all cases in the window 16 to 4096."""
    rates = []
    for place, (noise, seeds) in enumerate(experiments):
        lab.progress(place, len(experiments))
        trial = Trial(noise, seeds, replicates(lab, seeds, (500, 1000), (4000, 10_000)), seed=lab.seed)
        found = [key for key, least in POWER.items() if seeds >= least.get(noise, 10**9)]
        for case, counts in counted(trial, CASES, rule).items():
            rates += verdict_rates("16 to 4096", trial, case, counts, found)
    lab.progress(len(experiments), len(experiments))
    return rates


def verdicts_at_fixed_seeds(lab: Lab, rule: str = "", experiments: Sequence[tuple[str, int]] = EXPERIMENTS) -> Finding:
    """A true claim is never VIOLATED, a wrong one hardly ever CONSISTENT, and enough seeds find the truth."""
    rates = fixed_rates(lab, rule, experiments)
    seeds = [r for noise, r in experiments if noise == "d=10"]
    panels = []
    for verdict, cases in (("CONSISTENT", (TRUE, OFF_BY_ONE, LOG_FITTED, CASES[-2])), ("VIOLATED", CASES[1:5] + CASES[-1:])):
        keys = {case.label: [Key("16 to 4096", f"{case.label}: {verdict}", f"d=10, R={r}") for r in seeds] for case in cases}
        series = [curve(rates, label, found, seeds) for label, found in keys.items()]
        panels.append(Panel(f"{verdict} in the window 16 to 4096, d=10", "seeds R", f"{verdict}, %", tuple(series), log_y=False))
    return finding_of(rates, "verdicts, window 16 to 4096", tuple(panels))


def late_rates(lab: Lab, seeds: Sequence[int] = SEEDS, enough: int = 64) -> list[Rate]:
    """Both verdicts in the window 64 to 65536, d = 10; ``enough`` seeds must find a claim that is off by twice the tolerance."""
    rates = []
    for place, r in enumerate(seeds):
        lab.progress(place, len(seeds))
        trial = Trial("d=10", r, replicates(lab, r, (500, 1000), (4000, 10_000)), LATE, lab.seed)
        found = [(OFF_BY_TWO, "VIOLATED")] if r >= enough else []
        for case, counts in counted(trial, LATE_CASES).items():
            rates += verdict_rates("64 to 65536", trial, case, counts, found)
    lab.progress(len(seeds), len(seeds))
    return rates


def verdicts_in_a_late_window(lab: Lab, seeds: Sequence[int] = SEEDS, enough: int = 64) -> Finding:
    """The same in the window 64 to 65536, where 64 seeds find a claim that is off by twice the tolerance."""
    rates = late_rates(lab, seeds, enough)
    shown = [(TRUE, "CONSISTENT"), (OFF_BY_TWO, "VIOLATED"), (LOG, "VIOLATED")]
    series = []
    for case, verdict in shown:
        keys = [Key("64 to 65536", f"{case.label}: {verdict}", f"d=10, R={r}") for r in seeds]
        series.append(curve(rates, f"{case.label}: {verdict}", keys, seeds))
    panel = Panel("verdicts in the window 64 to 65536, d=10", "seeds R", "verdict, %", tuple(series), log_y=False)
    return finding_of(rates, "verdicts, window 64 to 65536", (panel,))


# ------------------------------------------------------------------------------------------------ transients
FAMILIES_OF_TRANSIENTS = {
    "1/T + {}/T^2": ((5, 20, 100, 500, 2000, 5000), 2000),
    "1/(T + {})": ((5, 20, 100, 500, 2000, 5000), 2000),
    "(1 {:+}/sqrt T)/T": ((-2, 2, 5, 10, 15, 30, 100), 5),
}
QUICK = {"1/T + {}/T^2": (500, 2000), "1/(T + {})": (100, 2000), "(1 {:+}/sqrt T)/T": (-2, 5, 10, 100)}
WORST, SHOWN = "worst of all noise, R = 8 to 64", ("d=10", 64)


def transient_rates(lab: Lab, rule: str = "", noises: Sequence[str] = FAMILIES) -> list[Rate]:
    """For every transient of the true law 1/T the noise and the seeds with most VIOLATED, and what 64 seeds with d = 10 give.

    Limits hold for corrections of order 1/T inside the window, and for c/sqrt T with c up to 5.
    """
    sizes = lab.pick(quick=QUICK, full={family: all_sizes for family, (all_sizes, _) in FAMILIES_OF_TRANSIENTS.items()})
    cases = {
        Case(family.format(c)): NEVER_VIOLATED if c <= FAMILIES_OF_TRANSIENTS[family][1] else FREE
        for family, chosen in sizes.items()
        for c in chosen
    }
    trials = [Trial(n, r, lab.pick(quick=500, full=5000), seed=lab.seed) for n in noises for r in (8, 16, 32, 64)]
    rates, worst = [], dict.fromkeys(cases, (-1, trials[0]))
    for place, trial in enumerate(trials):
        lab.progress(place, len(trials))
        for case, (_, violated) in counted(trial, tuple(cases), rule).items():
            worst[case] = max(worst[case], (violated, trial), key=lambda found: found[0])
            if (trial.noise, trial.seeds) == SHOWN:
                rates.append(_violated(case, violated, trial, FREE, f"{trial.noise}, R={trial.seeds}"))
    lab.progress(len(trials), len(trials))
    return [_violated(case, *worst[case], limits, WORST) for case, limits in cases.items()] + rates


def _violated(case: Case, count: int, trial: Trial, limits: Limits, column: str) -> Rate:
    key = Key("transients", f"{case.label}: VIOLATED", column)
    return Rate(key, count, trial.replicates, limits, f"{trial.noise}, R={trial.seeds}")


def transients_do_not_violate(lab: Lab, rule: str = "", noises: Sequence[str] = FAMILIES) -> Finding:
    """A true claim is not VIOLATED because of a transient that ends inside the window."""
    rates = transient_rates(lab, rule, noises)
    series = []
    for family, (sizes, _) in FAMILIES_OF_TRANSIENTS.items():
        positive = [c for c in sizes if c > 0]
        keys = [Key("transients", f"{family.format(c)} as T^-1: VIOLATED", WORST) for c in positive]
        series.append(curve(rates, family.replace("{}", "c").replace("{:+}", "+ c"), keys, positive))
    limit = limit_line("1 %", 1.0, (2, 5000))
    title = "largest share of VIOLATED though T^-1 is true"
    panel = Panel(title, "size c of the transient", "VIOLATED, %", (*series, limit), log_y=False)
    return finding_of(rates, "transients", (panel,))
