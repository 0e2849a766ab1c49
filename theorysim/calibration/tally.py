"""A measured rate of errors: a count among replicates with its Monte Carlo error, its limits and what is documented for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import NamedTuple

from theorysim.calibration.documented import DOCUMENTED, Documented
from theorysim.findings import Finding, Panel, Series, Table, Verdict, together
from theorysim.lab import Lab

SIGMAS = 3.0  # a rate may miss its limit by this many Monte Carlo errors
COLUMNS = ("rate in %", "experiment", "measured", "+-", "limits", "documented", "off by")

Limits = tuple[float, float]
FREE: Limits = (0.0, 100.0)


class Key(NamedTuple):
    """What was counted (a table of the specification, its row) and in which experiment (its column)."""

    table: str
    row: str
    column: str


@dataclass(frozen=True)
class Rate:
    """``count`` of ``trials``; ``limits`` in percent, (0, 100) where none is stated."""

    key: Key
    count: int
    trials: int
    limits: Limits = FREE
    note: str = ""

    @property
    def percent(self) -> float:
        return 100.0 * self.count / self.trials

    @property
    def error(self) -> float:
        return _error(self.percent, self.trials)

    @property
    def documented(self) -> Documented | None:
        return DOCUMENTED.get(self.key)

    @property
    def distance(self) -> float | None:
        """From the documented rate beyond its rounding, in Monte Carlo errors of both; None where none is documented."""
        known = self.documented
        if known is None:
            return None
        off = max(known.low - known.rounding - self.percent, self.percent - known.high - known.rounding, 0.0)
        nearest = min(max(self.percent, known.low), known.high)
        pooled = (self.count + known.replicates * nearest / 100) / (self.trials + known.replicates)
        spread = 100 * sqrt(pooled * (1 - pooled) * (1 / self.trials + 1 / known.replicates))
        return off / spread if off else 0.0

    @property
    def allowed(self) -> Limits:
        """The limits with room for the Monte Carlo error that a rate at the limit would have."""
        low, high = self.limits
        room = (SIGMAS * _error(low, self.trials), SIGMAS * _error(high, self.trials))
        return max(0.0, low - room[0]), min(100.0, high + room[1])

    def finding(self) -> Finding:
        """CONSISTENT inside the limits, up to three Monte Carlo errors; else VIOLATED."""
        (low, high), (least, most) = self.allowed, self.limits
        inside = low <= self.percent <= high
        stated = _stated(self.limits)
        return Finding(
            label=f"{self.key.row}, {self.key.column}",
            verdict=Verdict.CONSISTENT if inside else Verdict.VIOLATED,
            reason=f"{self.percent:.2f} +- {self.error:.2f} % of {self.trials} replicates; {stated} %"
            f"{'' if inside else ', missed beyond Monte Carlo error'}{self.note and f' ({self.note})'}",
            measured=self.percent,
            predicted=None if self.documented is None else self.documented.middle,
            limits=(low if least > 0 else -inf, high if most < 100 else inf),
            details={"Monte Carlo error": self.error, "replicates": self.trials, "stated limits": stated},
        )

    def line(self) -> tuple[str | float | None, ...]:
        """The rate in the order of COLUMNS."""
        known, off = self.documented, self.distance
        return (
            self.key.row,
            self.key.column,
            round(self.percent, 2),
            round(self.error, 2),
            "" if self.limits == FREE else _stated(self.limits),
            "" if known is None else known.text,
            None if off is None else round(off, 1),
        )


def _error(percent: float, trials: int) -> float:
    return sqrt(percent * (100.0 - percent) / trials)


def _stated(limits: Limits) -> str:
    low, high = limits
    if low <= 0:
        return f"at most {high:g}"
    return f"at least {low:g}" if high >= 100 else f"{low:g} to {high:g}"


def finding_of(rates: Sequence[Rate], label: str, panels: tuple[Panel, ...] = ()) -> Finding:
    """The finding of a claim: a part for every rate with a limit, a line of its table for every rate."""
    rows = dict.fromkeys((rate.key.table, rate.key.row) for rate in rates)
    tables = [
        Table(title, COLUMNS, tuple(rate.line() for row in rows for rate in rates if rate.key[:2] == row and row[0] == title))
        for title in dict.fromkeys(table for table, _ in rows)
    ]
    parts = [rate.finding() for rate in rates if rate.limits != FREE]
    return together(*parts, label=label, panels=panels, tables=tuple(tables))


def curve(rates: Iterable[Rate], label: str, keys: Sequence[Key], x: Sequence[float]) -> Series:
    """The rates of ``keys``, which stand at x, with one Monte Carlo error to either side; what was not measured is left out."""
    by_key = {rate.key: rate for rate in rates}
    points = [(float(place), by_key[key]) for place, key in zip(x, keys, strict=True) if key in by_key]
    low = tuple(rate.percent - rate.error for _, rate in points)
    high = tuple(rate.percent + rate.error for _, rate in points)
    return Series(label, tuple(p for p, _ in points), tuple(rate.percent for _, rate in points), "measured", low, high)


def limit_line(label: str, percent: float, x: Sequence[float]) -> Series:
    """A horizontal line over x."""
    return Series(label, (float(min(x)), float(max(x))), (percent, percent), "limit")


def replicates(lab: Lab, seeds: int, quick: tuple[int, int], full: tuple[int, int]) -> int:
    """How many replicates: (at least, at most), with about as many numbers in all for every number of seeds."""
    least, most = lab.pick(quick=quick, full=full)
    return max(least, min(most, lab.pick(quick=2**17, full=2**20) // seeds))
