"""Several claims of one paper: the chance that any true one is VIOLATED."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from theorysim.calibration.cases import NEVER_VIOLATED, OFF_BY_ONE
from theorysim.calibration.planted import Trial
from theorysim.calibration.rules import NO_HOLM, WITHIN
from theorysim.calibration.tally import Key, Rate, curve, finding_of, limit_line
from theorysim.findings import Finding, Panel
from theorysim.lab import Lab
from theorysim.rates import estimate, judge
from theorysim.statistics import LEVEL_CONSISTENT, LEVEL_VIOLATED, Floats, holm, mean_with_error, p_above

TABLE = "several claims"
COUNTS = (1, 3, 10, 30)


@cache
def p_values(trial: Trial) -> dict[str, Floats]:
    """p-values of VIOLATED (1 where a drift forbids it), per replicate, for two claims at the edge of being true.

    A rate that is off by exactly the tolerance, and a bound that is tight at one checkpoint: the size of either test comes
    close to its level there, while a true rate inside the tolerance is hardly ever VIOLATED.
    """
    grid, edge = trial.grid, OFF_BY_ONE
    rates, bounds = [], []
    for noise in trial.batches():
        judged = judge(estimate(grid, noise * edge.curve(grid), edge.log_claim(grid)), WITHIN)
        rates.append(np.where(judged.p_drift >= LEVEL_CONSISTENT, judged.p_violated, 1.0))
        bounds.append(p_above(*_first(mean_with_error(noise[..., -1:], False))))
    return {"rates at the tolerance": np.concatenate(rates), "tight bounds": np.concatenate(bounds)}


def _first(found: tuple[Floats, Floats, Floats]) -> tuple[Floats, float, Floats, Floats]:
    z, error, df = (part[..., 0] for part in found)
    return z, 0.0, error, df


def family_rates(lab: Lab, rule: str = "", counts: Sequence[int] = COUNTS) -> list[Rate]:
    """How often any of n true claims is VIOLATED, each with its own noise."""
    families = lab.pick(quick=1000, full=5000)
    rates = []
    for place, n in enumerate(counts):
        lab.progress(place, len(counts))
        trial = Trial("d=100", 32, n * families, seed=lab.seed)
        for kind, p in p_values(trial).items():
            table = p.reshape(families, n)
            adjusted = table if rule == NO_HOLM else holm(table)
            any_violated = (adjusted < LEVEL_VIOLATED).any(axis=-1)
            key = Key(TABLE, f"{kind}: any VIOLATED", f"{n} claims")
            rates.append(Rate(key, int(any_violated.sum()), families, NEVER_VIOLATED))
    lab.progress(len(counts), len(counts))
    return rates


def any_of_several_claims(lab: Lab, rule: str = "", counts: Sequence[int] = COUNTS) -> Finding:
    """Of several true claims, none is VIOLATED in 99 % of the replicates: Holm's correction."""
    rates = family_rates(lab, rule, counts)
    kinds = dict.fromkeys(rate.key.row for rate in rates)
    series = [curve(rates, kind, [Key(TABLE, kind, f"{n} claims") for n in counts], counts) for kind in kinds]
    line = limit_line("1 %", 1.0, counts)
    panel = Panel("several true claims", "number of claims", "any VIOLATED, %", (*series, line), log_y=False)
    return finding_of(rates, "families of claims", (panel,))
