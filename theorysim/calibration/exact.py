"""Verdicts without noise: what infinitely many seeds would show."""

from __future__ import annotations

from theorysim.calibration.cases import Case
from theorysim.calibration.planted import LAWS, Trial
from theorysim.calibration.rules import WITHIN, verdicts
from theorysim.findings import Finding, Table, Verdict, together
from theorysim.lab import Lab
from theorysim.rates import estimate, judge
from theorysim.registry import ANALYSES
from theorysim.statistics import Bools

_LETTERS = {"C": Verdict.CONSISTENT, "U": Verdict.UNDECIDED, "V": Verdict.VIOLATED}
_ONES = (
    ("1/T", "C"), ("T^-0.85", "V"), ("T^-0.8", "V"), ("T^-1.2", "V"), ("log T/T", "U"), ("1/T + 10/T^2", "U"),
    ("1/T + 50/T^2", "U"), ("1/(T + 100)", "U"), ("1/T + 500/T^2", "U"), ("(1 +10/sqrt T)/T", "U"), ("1/T + 0.3/T_end", "U"),
    ("1/T + 1/T_end", "V"), ("1/T + 4/T_end", "V"), ("exp(-5 T/T_end)", "U"), ("exp(-50 T/T_end)", "V"),
)  # fmt: skip
EXPECTED = {**{Case(law): _LETTERS[letter] for law, letter in _ONES}, Case("log T/T", -0.81): Verdict.UNDECIDED}


def exact_verdicts(lab: Lab, rule: str = "") -> Finding:
    """Expected values decide without seeds: every planted law gets the documented verdict."""
    grid = Trial("d=10", 0, 0).grid
    parts = []
    for case, expected in EXPECTED.items():
        numbers = estimate(grid, LAWS[case.law](grid), case.log_claim(grid), exact=True)
        found = _verdict(*verdicts(judge(numbers, WITHIN), rule))
        reported = ANALYSES.get("exponent")(grid, LAWS[case.law](grid), claim=case.exponent, within=WITHIN, exact=True).verdict
        agrees = found is expected and (rule != "" or reported is expected)
        reason = f"{found}, documented {expected}; the analysis says {reported}"
        slopes = {name: float(numbers.value[name]) for name in ("theta", "D", "t3", "k")}
        verdict = Verdict.CONSISTENT if agrees else Verdict.VIOLATED
        parts.append(Finding(case.label, verdict, reason, details=slopes))
    lines = tuple((part.label, *(round(v, 4) for v in part.details.values()), part.reason.partition(",")[0]) for part in parts)
    table = Table("exact verdicts", ("law and claim", "theta", "D", "t3", "k", "verdict"), lines)
    return together(*parts, label="exact verdicts", tables=(table,))


def _verdict(consistent: Bools, violated: Bools) -> Verdict:
    return Verdict.VIOLATED if violated else Verdict.CONSISTENT if consistent else Verdict.UNDECIDED
