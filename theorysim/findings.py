"""What a claim comes out as: a verdict with its evidence, figures and tables. Imports nothing of theorysim."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Verdict(enum.StrEnum):
    """Never "proved": a run can only be consistent with a claim, violate it, or leave it open."""

    CONSISTENT = "CONSISTENT"
    UNDECIDED = "UNDECIDED"
    VIOLATED = "VIOLATED"


def worst(verdicts: list[Verdict]) -> Verdict:
    """VIOLATED before UNDECIDED before CONSISTENT; nothing at all is UNDECIDED."""
    order = (Verdict.VIOLATED, Verdict.UNDECIDED)
    return next((v for v in order if v in verdicts), Verdict.CONSISTENT if verdicts else Verdict.UNDECIDED)


@dataclass(frozen=True)
class Series:
    """One curve of a figure. ``role``: measured, bound, predicted, excluded, floor or limit; it fixes the drawing style."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    role: str = "measured"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Panel:
    """One pair of axes; ``window`` is the fitted range of x, shaded."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = True
    log_y: bool = True
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class Table:
    """Rows for a person: every row has one value per column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Evidence:
    """What the seeds say, before an error level is shared among looks and claims (levels.py).

    ``p_violated``, ``p_consistent``: the largest p-value among all that the verdict needs; 1 where a condition without noise
    fails. ``p_drift``: p-value against "no drift back to the claim"; a significant drift forbids VIOLATED. ``error``: standard
    error of ``measured`` (of its logarithm for a ratio), with ``df`` degrees of freedom. ``violated``, ``consistent``: the
    finding's reason under that verdict.
    """

    seeds: int
    p_violated: float
    p_consistent: float
    error: float
    df: float
    violated: str
    consistent: str
    p_drift: float = 1.0


@dataclass(frozen=True)
class Finding:
    """A verdict with its evidence. ``measured`` and ``predicted`` leave together; ``limits`` is the allowed range.

    ``reason``: one sentence, always there. ``parts``: the findings this one is made of (its verdict is the worst of
    theirs). ``details``: further numbers by name. ``reproducer``: for a violated deterministic bound, what to run to see it.
    ``evidence``: None where no noise was judged.
    """

    label: str
    verdict: Verdict
    reason: str
    measured: float | None = None
    predicted: float | None = None
    limits: tuple[float, float] | None = None
    interval: tuple[float, float] | None = None
    parts: tuple[Finding, ...] = ()
    panels: tuple[Panel, ...] = ()
    tables: tuple[Table, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    reproducer: Mapping[str, Any] | None = None
    evidence: Evidence | None = None

    def leaves(self) -> list[Finding]:
        """The findings that were judged by themselves, in order."""
        return [leaf for part in self.parts for leaf in part.leaves()] if self.parts else [self]


def together(*parts: Finding, label: str = "", panels: tuple[Panel, ...] = (), tables: tuple[Table, ...] = ()) -> Finding:
    """One finding from several: the worst verdict, with the reason of the part that decided it."""
    verdict = worst([part.verdict for part in parts])
    decisive = next(part for part in parts if part.verdict is verdict)
    count = sum(part.verdict is verdict for part in parts)
    reason = (
        decisive.reason if len(parts) == 1 else f"{count} of {len(parts)} parts {verdict}: {decisive.label}: {decisive.reason}"
    )
    if verdict is Verdict.CONSISTENT and len(parts) > 1:
        reason = f"all {len(parts)} parts consistent"
    reproducer = next((part.reproducer for part in parts if part.reproducer), None)
    return Finding(label or decisive.label, verdict, reason, parts=parts, panels=panels, tables=tables, reproducer=reproducer)
