"""How tight a bound was found to be: the record that a search for the hardest instance leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from theorysim.findings import Panel, Series, Verdict
from theorysim.model import Cell, Claim, Search

SLACK = 1e-9  # of a run, as in bound_ratio
SOLVER_SLACK = 1e-5  # of the exact worst case, which a solver finds


@dataclass(frozen=True)
class Instance:
    """One run at one step: ``measured`` is ``ratio`` times the bound's ``limit`` after ``step`` steps of the cell's only run."""

    cell: Cell
    step: int
    measured: float
    limit: float
    ratio: float
    constants: Mapping[str, float]

    @property
    def run(self) -> int:
        return self.cell.first_run


@dataclass(frozen=True)
class Tightness:
    """What was found about a bound. ``typical``: the median over runs of the largest measured / bound, at the search's own Specs.

    ``hardest``: the run with the largest ratio of all. ``history``: the largest so far, after each evaluation. ``worst_case``:
    the exact one, / bound, at the horizon of ``hardest``; None where ``why_not`` says why. ``reproducer``: of bound_ratio, for
    a run that exceeds the bound.
    """

    claim: Claim
    search: Search
    typical: float
    hardest: Instance
    history: tuple[float, ...]
    worst_case: float | None
    why_not: str
    reproducer: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        exceeded = self.hardest.ratio > 1 + SLACK or (self.worst_case is not None and self.worst_case > 1 + SOLVER_SLACK)
        return Verdict.VIOLATED if exceeded else Verdict.CONSISTENT

    @property
    def exit_code(self) -> int:
        return int(self.verdict is Verdict.VIOLATED)

    @property
    def settled(self) -> int:
        """After how many evaluations 99 % of the hardest ratio had been found."""
        return 1 + int(np.argmax(np.array(self.history) >= 0.99 * self.hardest.ratio))

    def to_json(self) -> dict[str, Any]:
        """Everything; numbers may be infinite."""
        search, hardest = self.search, self.hardest
        judged = {"of": search.of, "bound": search.bound, "where": dict(search.where)}
        found = {name: getattr(hardest, name) for name in ("step", "run", "measured", "limit", "ratio")}
        return {
            "paper": self.claim.paper.name,
            "claim": self.claim.name,
            "verdict": str(self.verdict),
            **judged,
            "over": {name: _plain(allowed) for name, allowed in search.over.items()},
            "typical": self.typical,
            "typical_instance": {"problem": search.problem.to_json(), "algorithm": search.algorithm.to_json()},
            "hardest": found | {"cell": hardest.cell.to_json()},
            "worst_case": self.worst_case,
            "why_no_worst_case": self.why_not,
            "evaluations": len(self.history),
            "settled_after": self.settled,
            "history": list(self.history),
            "reproducer": self.reproducer,
            **self.settings,
        }

    def panel(self) -> Panel:
        """The largest ratio so far against evaluations, between the typical one and the bound."""
        count = tuple(float(i) for i in range(1, len(self.history) + 1))
        ends = (count[0], count[-1])
        lines = [("typical", self.typical, "floor"), ("exact worst case", self.worst_case, "limit"), ("the bound", 1.0, "bound")]
        guides = [Series(label, ends, (y, y), role) for label, y, role in lines if y is not None]
        found = Series(f"hardest found, {self.hardest.ratio:.4g}", count, self.history)
        return Panel(f"{self.claim.name}: the hardest instance", "evaluations", "measured / bound", (found, *guides))


def _plain(allowed: Any) -> Any:
    """A range as its ends by name, choices as a list."""
    return {"low": allowed[0], "high": allowed[1]} if isinstance(allowed, tuple) else list(allowed)
