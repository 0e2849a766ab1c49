"""The analyses and the report apply the rule that is calibrated here: the same verdicts, replicate by replicate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from theorysim.calibration.bounds import bound_verdicts
from theorysim.calibration.cases import OFF_BY_TWO, TRUE, Case
from theorysim.calibration.planted import Trial
from theorysim.calibration.rules import WITHIN, estimated, verdicts
from theorysim.findings import Finding, Table, Verdict, together
from theorysim.lab import Lab
from theorysim.levels import judged, number_of_looks, share_of_look
from theorysim.rates import judge
from theorysim.registry import ANALYSES
from theorysim.statistics import LEVEL_CONSISTENT, LEVEL_VIOLATED, Bools, Floats, holm

RATES = (TRUE, OFF_BY_TWO, Case("log T/T", -0.81), Case("1/(T + 2000)"))
LOOKS, CLAIMS = number_of_looks(512), 5


def analyses_apply_the_rule(lab: Lab, rule: str = "") -> Finding:
    """The verdicts of the analyses, of a look at growing seeds and of Holm over claims are those of the calibrated rule."""
    count = lab.pick(quick=20, full=100)
    parts, lines = [], []
    for name, here, there in _pairs(lab.seed, count, rule):
        differ = sum(a is not b for a, b in zip(here, there, strict=True))
        verdict = Verdict.VIOLATED if differ else Verdict.CONSISTENT
        reason = f"{differ} of {len(here)} verdicts differ"
        tally = ", ".join(f"{there.count(v)} {v}" for v in Verdict if v in there)
        parts.append(
            Finding(name, verdict, reason, measured=float(differ), predicted=0.0, limits=(0.0, 0.0), details={"found": tally})
        )
        lines.append((name, len(here), tally, differ))
    table = Table("verdicts of the analyses", ("experiment", "replicates", "found", "differ"), tuple(lines))
    return together(*parts, label="verdicts of the analyses", tables=(table,))


def _pairs(seed: int, count: int, rule: str) -> Iterator[tuple[str, list[Verdict], list[Verdict]]]:
    """What is compared, the verdicts found here for all replicates at once, and those of the product's own functions."""
    exponent, bound = (ANALYSES.get(name) for name in ("exponent", "bound_in_expectation"))
    for case in RATES:
        trial = Trial("d=10", 64, count, seed=seed)
        grid, errors = trial.grid, _all(trial) * case.curve(trial.grid)
        numbers = estimated(grid, errors, case.log_claim(grid), rule)
        leaves = [exponent(grid, one, claim=case.exponent, within=WITHIN) for one in errors]
        yield f"exponent: {case.label}", _verdicts(*verdicts(judge(numbers, WITHIN), rule)), [leaf.verdict for leaf in leaves]
        share = share_of_look(LOOKS - 2, LOOKS)
        here = _verdicts(*verdicts(judge(numbers, WITHIN, share=share), rule))
        yield f"one look of {LOOKS}: {case.label}", here, [judged([leaf], [share])[0].verdict for leaf in leaves]
        # VIOLATED only: of several claims, Holm's second correction speaks of CONSISTENT
        families = [judged(leaves[first : first + CLAIMS], [1.0] * CLAIMS) for first in range(0, count, CLAIMS)]
        there = [_or_open(leaf.verdict, Verdict.VIOLATED) for family in families for leaf in family]
        decided = judge(numbers, WITHIN)
        p_violated = np.where(decided.p_drift >= LEVEL_CONSISTENT, decided.p_violated, 1.0)
        found = holm(p_violated.reshape(-1, CLAIMS)).ravel() < LEVEL_VIOLATED
        yield f"Holm over {CLAIMS} claims: {case.label}", _verdicts(np.zeros_like(found), found), there
    for name, excess in (("exceeded", 1.25), ("met", 0.75)):
        errors = excess * _all(Trial("d=10", 24, count, seed=seed))
        grid = Trial("d=10", 24, count).grid
        leaves = [bound(grid, one, np.ones_like(grid)) for one in errors]
        yield f"bound_in_expectation: {name} by 25 %", _verdicts(*bound_verdicts(errors)), [leaf.verdict for leaf in leaves]


def _all(trial: Trial) -> Floats:
    return np.concatenate(list(trial.batches()))


def _verdicts(consistent: Bools, violated: Bools) -> list[Verdict]:
    return [
        Verdict.VIOLATED if v else Verdict.CONSISTENT if c else Verdict.UNDECIDED
        for c, v in zip(consistent, violated, strict=True)
    ]


def _or_open(verdict: Verdict, kept: Verdict) -> Verdict:
    return verdict if verdict is kept else Verdict.UNDECIDED
