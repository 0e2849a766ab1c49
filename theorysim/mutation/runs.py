"""Runs of a paper's claims, sound or with one fault, that keep their cells apart and know whether a fault changes anything.

Cells are compared bit for bit with those of the sound run, bounds value by value; an instance that a claim audits directly
counts as changed where the fault has something to change in it.
"""

from __future__ import annotations

import functools
import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import numpy as np

from theorysim import build, trace
from theorysim.backend import Backend
from theorysim.bounds import Bound
from theorysim.build import build_algorithm, build_problem, variants
from theorysim.check import ClaimFinding, check_claims, settings
from theorysim.findings import Finding, Verdict
from theorysim.lab import Lab
from theorysim.model import Array, Cell, Claim, Paper, Problem, Spec
from theorysim.mutation.fault import BOUND, Fault
from theorysim.mutation.mutants import Mutant
from theorysim.noise import Draws
from theorysim.store import Store
from theorysim.trace import Trace

Numbers = tuple[tuple[str, str], ...]
_AUDIT = 2000.0  # gradients and draws that an audit of an instance asks for, roughly


# ------------------------------------------------------------------------------------------------ the sound run
@dataclass
class Use:
    """What one claim uses: names of algorithms and problems, and BOUND where it evaluates one; cells, and instances that it
    audits directly. ``work``: coordinates times
    gradients, roughly. ``numbers``: what it judges, by setting of its controls ("" for the claim itself)."""

    names: set[str] = field(default_factory=set)
    cells: set[Cell] = field(default_factory=set)
    instances: set[Spec] = field(default_factory=set)
    work: float = 0.0
    numbers: dict[str, Numbers] = field(default_factory=dict)


@dataclass(frozen=True)
class Sound:
    """The sound run: every claim with its controls, what each uses, and a digest of every cell's numbers."""

    findings: tuple[ClaimFinding, ...]
    uses: dict[str, Use]
    digests: dict[Cell, str]

    @property
    def broken(self) -> list[str]:
        """The claims that are not as they should be before anything is broken."""
        return [
            found.claim.name
            for found in self.findings
            if found.verdict is not Verdict.CONSISTENT or not all(control.as_it_must for control in found.controls)
        ]


def run_sound(paper: Paper, claims: Sequence[Claim], store: Store, **options: Any) -> Sound:
    """Check the claims as they are, watching what they use."""
    uses = {claim.name: Use() for claim in claims}
    watch = _Watch(store)

    def watched(claim: Claim) -> Claim:
        @functools.wraps(claim.function)
        def function(*args: Any, **setting: Any) -> Finding:
            watch.use = uses[claim.name]
            return claim.function(*args, **setting)

        return replace(claim, function=function)

    with instances_told(watch.note_instance), bounds_broken(None, watch.note_bound):
        report = check_claims(paper, [watched(claim) for claim in claims], store=watch, **options)
    findings = tuple(replace(found, claim=claim) for found, claim in zip(report.claims, claims, strict=True))
    for found in findings:
        listed = [("", found.finding), *((settings(control.control), control.finding) for control in found.controls)]
        uses[found.claim.name].numbers = {setting: numbers_of(finding) for setting, finding in listed}
    return Sound(findings, uses, watch.digests)


class _Watch(Store):
    """The store beneath, with a note of every cell that passes."""

    def __init__(self, beneath: Store) -> None:
        self.folder, self.beneath = beneath.folder, beneath
        self.use = Use()
        self.digests: dict[Cell, str] = {}

    def load(self, cell: Cell, device: str) -> Trace | None:
        self.use.names |= _names(cell.problem) | _names(cell.algorithm)
        found = self.beneath.load(cell, device)
        if found is not None:
            self._note(found)
        return found

    def save(self, trace: Trace, device: str) -> None:
        self._note(trace)
        self.beneath.save(trace, device)

    def note_instance(self, spec: Spec) -> None:
        self.use.names |= _names(spec)
        self.use.instances.add(spec)
        self.use.work += _AUDIT * float(spec.arguments.get("dim", 100))

    def note_bound(self) -> None:
        self.use.names.add(BOUND)

    def _note(self, trace: Trace) -> None:
        cell = trace.cell
        self.digests[cell] = digest(trace)
        self.use.cells.add(cell)
        steps = len(trace.steps) if cell.exact else cell.steps
        self.use.work += float(cell.problem.arguments.get("dim", 100)) * steps * len(trace.runs)


def _names(spec: Spec) -> set[str]:
    return {spec.name}.union(*(_names(value) for _, value in spec.params if isinstance(value, Spec)))


def digest(trace: Trace) -> str:
    """A hash of the recorded numbers, the constants included; not of how often the oracle was asked."""
    found = hashlib.sha256()
    tables: list[tuple[str, Array]] = [("steps", trace.steps), ("status", trace.status)]
    for name, values in [*tables, *sorted(trace.values.items()), *sorted(trace.constants.items())]:
        found.update(name.encode() + np.ascontiguousarray(values, dtype=float).tobytes())
    return found.hexdigest()


def numbers_of(finding: Finding) -> Numbers:
    """What was judged, and not only shown."""
    return tuple((leaf.label, repr(leaf.measured)) for leaf in finding.leaves())


@contextmanager
def instances_told(notice: Callable[[Spec], None]) -> Iterator[None]:
    """Tell of every instance that a claim audits directly, before it is built."""
    sound = Lab.build

    def watched(self: Lab, problem: Spec, runs: int = 1) -> Problem:
        notice(problem)
        return sound(self, problem, runs)

    with mock.patch.object(Lab, "build", watched):
        yield


@contextmanager
def bounds_broken(fault: Fault | None, notice: Callable[[], None]) -> Iterator[None]:
    """Break every bound; ``notice()`` hears of each value that is another one then (without a fault: of each value).

    Expressions that are hyper-parameters, such as a step size, are no bounds and stay sound.
    """
    sound = Bound.__call__

    class Hyper(Bound):
        __call__ = sound

    def call(self: Bound, values: Any) -> Any:
        value = sound(self, values)
        changed = value
        if fault is not None:
            changed = fault.change(lambda text, known: Hyper(text)(known), self.text, dict(values))
            if changed is None or np.array_equal(changed, value, equal_nan=True):
                return value
        notice()
        return changed

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Bound, "__call__", call))
        for module in (build, trace):
            stack.enter_context(mock.patch.object(module, "Bound", Hyper))
        yield


# ------------------------------------------------------------------------------------------------ one mutant
class FaultyCells(Store):
    """Cells of a mutant. Those that the fault cannot touch come from the store beneath; all others stay in memory.

    ``changed``: has a recorded number, an audited instance or a bound been another one than in the sound run?
    """

    def __init__(self, beneath: Store, mutant: Mutant, sound: Sound, backend: Backend) -> None:
        self.folder, self.beneath = beneath.folder, beneath
        self.registry, self.name, self.backend = mutant.registry, mutant.target, backend
        self.factory = self.registry.get(self.name) if self.registry is not None else None
        self.digests, self.kept = sound.digests, dict[Cell, Trace]()
        self.touching: dict[Cell | Spec, bool] = {}
        self.changed = self._touched = False

    def touch(self) -> None:
        """The faulty factory had something to change."""
        self._touched = True

    def note_bound(self) -> None:
        self.changed = True

    def note_instance(self, spec: Spec) -> None:
        self.changed |= self._touches(spec)

    def concern(self, use: Use) -> bool:
        """Can the fault change anything of what a claim uses?"""
        if self.registry is None:
            return True
        return any(map(self._touches, use.instances)) or any(map(self._touches, use.cells))

    def load(self, cell: Cell, device: str) -> Trace | None:
        if cell in self.kept:
            return self._seen(self.kept[cell])
        if self.registry is None or not self._holds(cell):
            return self.beneath.load(cell, device)
        if self._touches(cell):
            return None
        with self.registry.replaced(self.name, self.factory):  # the key of a sound cell is made with the sound factory
            return self.beneath.load(cell, device)

    def save(self, trace: Trace, device: str) -> None:
        if self.registry is None or not self._holds(trace.cell):
            self.beneath.save(trace, device)
        else:
            self.kept[trace.cell] = self._seen(trace)

    def _holds(self, cell: Cell) -> bool:
        return self.name in _names(cell.problem) | _names(cell.algorithm)

    def _touches(self, thing: Cell | Spec) -> bool:
        """Has the fault something to change in this cell, or in this instance? It is built to see."""
        if thing not in self.touching:
            self._touched = False
            if isinstance(thing, Spec):
                build_problem(thing, Draws(self.backend, 0, np.zeros(1, dtype=np.int64)))
            elif self._holds(thing):
                draws = Draws(self.backend, thing.seed, np.zeros(variants(thing.algorithm), dtype=np.int64))
                build_algorithm(thing.algorithm, build_problem(thing.problem, draws), draws)
            self.touching[thing] = self._touched
        return self.touching[thing]

    def _seen(self, trace: Trace) -> Trace:
        self.changed |= self.digests.get(trace.cell) != digest(trace)
        return trace


@contextmanager
def broken(mutant: Mutant, cells: FaultyCells) -> Iterator[None]:
    """The mutant in the place of what it breaks."""
    with ExitStack() as stack:
        if mutant.registry is None:
            stack.enter_context(bounds_broken(mutant.fault, cells.note_bound))
        else:
            faulty = mutant.fault.broken(mutant.registry.get(mutant.target), cells.touch)
            stack.enter_context(mutant.registry.replaced(mutant.target, faulty))
            stack.enter_context(instances_told(cells.note_instance))
        stack.enter_context(np.errstate(all="ignore"))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield
