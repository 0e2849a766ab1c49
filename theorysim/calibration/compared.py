"""The measured rates against those that the specification documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, nan

from scipy.special import ndtri, pdtrik

from theorysim.calibration.bounds import bound_rates, limit_rates, one_sided_rates
from theorysim.calibration.coverage import interval_rates
from theorysim.calibration.fixed import fixed_rates, late_rates, transient_rates
from theorysim.calibration.growing import growing_rates
from theorysim.calibration.tally import COLUMNS, Rate
from theorysim.findings import Finding, Panel, Series, Table, Verdict, together
from theorysim.lab import Lab

FAR, FAR_BY_CHANCE = 3.0, 0.0027  # Monte Carlo errors, and how often a normal number is farther from its mean
CHANCE = 0.01  # that chance alone makes the comparison fail


def measured_rates(lab: Lab) -> list[Rate]:
    """All rates of the rule for which figures are documented."""
    sources: Sequence[Callable[[Lab], list[Rate]]] = (
        interval_rates, fixed_rates, late_rates, transient_rates, growing_rates, one_sided_rates, bound_rates, limit_rates,
    )  # fmt: skip
    return [rate for source in sources for rate in source(lab)]


def rule_rates(lab: Lab, rule: str) -> list[Rate]:
    """Rates of a broken rule: verdicts and intervals at few seeds, which are enough to see that it is another rule."""
    return [*fixed_rates(lab, rule, [("d=10", 32), ("d=100", 16)]), *interval_rates(lab, rule, ("d=10", "d=1"), (8, 16))]


def documented_rates(lab: Lab, rule: str = "") -> Finding:
    """The measured rates are those that are documented, up to the Monte Carlo error of both and the printed digits.

    Hundreds of rates are compared, so that chance alone takes one or another beyond three errors. So two numbers are judged:
    how many are beyond three, and how far off the farthest is, each against what chance exceeds in 1 % of all calibrations.
    """
    rates = rule_rates(lab, rule) if rule else measured_rates(lab)
    known = [(rate, rate.distance) for rate in rates if rate.distance is not None]
    distances = [distance for _, distance in known]
    far = [rate for rate, distance in known if not distance <= FAR]
    many = float(ceil(pdtrik(1 - CHANCE, FAR_BY_CHANCE * len(known))))
    most = float(-ndtri(CHANCE / 2 / len(known)))
    farthest = max(known, key=lambda pair: pair[1])
    name = f"{farthest[0].key.row}, {farthest[0].key.column}"
    parts = (
        _part(f"rates beyond {FAR:g} Monte Carlo errors, of {len(known)}", float(len(far)), many, "printed digits allowed for"),
        _part("farthest rate, in Monte Carlo errors", max(distances, default=nan), most, name),
    )
    table = Table(f"rates beyond {FAR:g} Monte Carlo errors", COLUMNS, tuple(rate.line() for rate in far))
    middle = [rate.documented.middle for rate, _ in known if rate.documented]
    cells = Series("a rate", tuple(middle), tuple(rate.percent for rate, _ in known), "excluded")
    panel = Panel("measured and documented rates", "documented, %", "measured, %", (cells, _diagonal()), log_x=False, log_y=False)
    return together(*parts, label="documented rates", panels=(panel,), tables=(table,) if far else ())


def _part(label: str, value: float, most: float, note: str) -> Finding:
    inside = value <= most
    reason = f"{value:.3g}; chance exceeds {most:.3g} in 1 of 100 calibrations ({note})"
    return Finding(label, Verdict.CONSISTENT if inside else Verdict.VIOLATED, reason, value, limits=(0.0, most))


def _diagonal() -> Series:
    return Series("equal", (0.0, 100.0), (0.0, 100.0), "predicted")
