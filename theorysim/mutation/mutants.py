"""A mutant, one fault in one place, and what the claims of a paper say of it."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from theorysim.model import Paper
from theorysim.mutation.agents import AGENT_FAULTS, AGENT_PROBLEM_FAULTS
from theorysim.mutation.algorithms import ALGORITHM_FAULTS, WRAPPER_FAULTS
from theorysim.mutation.fault import BOUND, FROZEN, Fault
from theorysim.mutation.matrices import MATRIX_FAULTS
from theorysim.mutation.momentum import MOMENTUM_FAULTS
from theorysim.mutation.problems import BOUND_FAULTS, PROBLEM_FAULTS
from theorysim.registry import ALGORITHMS, PROBLEMS, Registry
from theorysim.validation import unknown

if TYPE_CHECKING:
    import pandas as pd

FAULTS = (
    *ALGORITHM_FAULTS,
    *MOMENTUM_FAULTS,
    *AGENT_FAULTS,
    *MATRIX_FAULTS,
    *WRAPPER_FAULTS,
    *PROBLEM_FAULTS,
    *AGENT_PROBLEM_FAULTS,
    *BOUND_FAULTS,
)
ENOUGH = 0.9  # of the mutants must be noticed


@dataclass(frozen=True)
class Mutant:
    """A fault in the algorithm or problem ``target`` of ``registry``; in every bound: registry None, target "bounds"."""

    fault: Fault
    registry: Registry | None
    target: str

    @property
    def name(self) -> str:
        return f"{self.target}:{self.fault.name}"


def mutants_of(names: Iterable[str], faults: Sequence[Fault] = FAULTS) -> list[Mutant]:
    """Every fault in every place that it applies to, among these names of algorithms and problems (and BOUND)."""
    listed = sorted(names)
    places = [(registry, name) for registry in (ALGORITHMS, PROBLEMS) for name in listed if name in registry.names()]
    found = [Mutant(fault, *place) for place in places for fault in faults if fault.applies_to(*place)]
    return found + [Mutant(fault, None, "bounds") for fault in faults if fault.breaks == BOUND and BOUND in listed]


def select_faults(names: Iterable[str]) -> tuple[Fault, ...]:
    """The shipped faults of these names; a name may stand for several, one for each kind of thing that it breaks."""
    wanted = set(names)
    known = {fault.name for fault in FAULTS}
    for name in sorted(wanted - known):
        raise unknown("fault", name, known)
    return tuple(fault for fault in FAULTS if fault.name in wanted)


class Outcome(enum.StrEnum):
    """What a claim says of a mutant, the strongest first."""

    NOTICED = "noticed"  # violated, a control that fails its duty, or a breakdown
    OPEN = "open"  # undecided, with all controls as they must
    PASSED = "passed"  # consistent, although a number that it judges is another one
    SHOWN = "shown"  # consistent, and every number that it judges is the same; only what it records or shows is not
    SAME = "same"  # not one recorded number is another one


@dataclass(frozen=True)
class Response:
    """A claim's outcome and, in one sentence, why."""

    claim: str
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True)
class Trial:
    """A mutant, by name, and the responses of the claims that use what it breaks (in the order they were asked)."""

    target: str
    fault: str
    about: str
    responses: tuple[Response, ...]

    @property
    def name(self) -> str:
        return f"{self.target}:{self.fault}"

    @property
    def applicable(self) -> bool:
        """Does it change any recorded number?"""
        return any(response.outcome is not Outcome.SAME for response in self.responses)

    @property
    def noticed_by(self) -> list[str]:
        return [response.claim for response in self.responses if response.outcome is Outcome.NOTICED]

    @property
    def passed_by(self) -> list[str]:
        return [response.claim for response in self.responses if response.outcome is Outcome.PASSED]


@dataclass(frozen=True)
class MutationReport:
    """The trials of all mutants. ``broken``: claims that are not as they should be without any fault; then there are no trials.

    ``first``: each mutant was left as soon as one claim had noticed it.
    """

    paper: Paper
    level: str
    seed: int
    claims: tuple[str, ...]
    trials: tuple[Trial, ...]
    broken: tuple[str, ...] = ()
    first: bool = False

    @property
    def counted(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.applicable]

    @property
    def survivors(self) -> list[Trial]:
        """Mutants that change a number and that no claim notices."""
        return [trial for trial in self.counted if not trial.noticed_by]

    @property
    def score(self) -> float:
        """The share of the mutants that are noticed; NaN without mutants."""
        return 1 - len(self.survivors) / len(self.counted) if self.counted else float("nan")

    @property
    def standing_still(self) -> list[tuple[str, str]]:
        """(algorithm, claim) where the claim judges the algorithm and lets it pass although it never moves."""
        return [(trial.target, claim) for trial in self.trials if trial.fault == FROZEN for claim in trial.passed_by]

    @property
    def passes(self) -> bool:
        """At least nine mutants of ten noticed, no claim met by standing still, and nothing broken to begin with."""
        return self.score >= ENOUGH and not self.standing_still and not self.broken

    def frame(self) -> pd.DataFrame:
        """One line per mutant, one column per claim: the outcome, empty where the claim was not asked."""
        import pandas as pd

        return pd.DataFrame([_row(trial, self.claims) for trial in self.trials])

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "paper": self.paper.name,
            "level": self.level,
            "seed": self.seed,
            "first": self.first,
            "broken": list(self.broken),
            "score": self.score if self.counted else None,
            "noticed": len(self.counted) - len(self.survivors),
            "counted": len(self.counted),
            "standing_still": [list(pair) for pair in self.standing_still],
            "survivors": [trial.name for trial in self.survivors],
            "mutants": [_row(trial, self.claims) | {"why": {r.claim: r.why for r in trial.responses}} for trial in self.trials],
        }


def _row(trial: Trial, claims: Sequence[str]) -> dict[str, Any]:
    outcomes = {response.claim: str(response.outcome) for response in trial.responses}
    head = {"mutant": trial.name, "does": trial.about, "counted": trial.applicable, "noticed": bool(trial.noticed_by)}
    return head | {claim: outcomes.get(claim, "") for claim in claims}
