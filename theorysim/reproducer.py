"""One run on which a bound is exceeded, as a record and as JSON: what to run to see it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theorysim.bounds import Bound
from theorysim.measures import build_measure
from theorysim.model import Cell, Spec, TheorysimError
from theorysim.registry import algorithm, problem
from theorysim.validation import NUMBER, Kind, mismatch

FORMAT = 1
FOLDER = "counterexamples"  # of a report


@dataclass(frozen=True)
class Counterexample:
    """``of`` <= ``bound`` fails after ``steps`` steps of run ``run``: ``measured`` is ``ratio`` times the bound's ``limit``.

    ``where``: what the bound's names stand for, as in bound_ratio. ``claimed``: the bound is claimed at every step up to this
    one, or at these steps. ``slack``: rounding that is forgiven. ``history``: what was changed to get here; ``tried``: runs
    that took; ``minimal``: whether every simplification was tried.
    """

    problem: Spec
    algorithm: Spec
    steps: int
    run: int
    seed: int
    of: str
    bound: str
    where: Mapping[str, str | float]
    slack: float
    claimed: int | tuple[int, ...]
    measured: float
    limit: float
    ratio: float
    history: tuple[str, ...] = ()
    tried: int = 0
    minimal: bool = False

    @property
    def cell(self) -> Cell:
        measures = dict.fromkeys([self.of, *(str(name) for name in self.where.values() if _is_measure(name))])
        return Cell(self.problem, self.algorithm, self.steps, 1, tuple(measures), "all", seed=self.seed, first_run=self.run)

    @property
    def horizon(self) -> int:
        """The last step at which the bound is claimed."""
        return self.claimed if isinstance(self.claimed, int) else max(self.claimed)

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` reads; numbers that are not finite are the texts "inf", "-inf" and "nan"."""
        numbers = {name: _plain(getattr(self, name)) for name in ("slack", "measured", "limit", "ratio")}
        own = {name: getattr(self, name) for name in ("steps", "run", "seed", "of", "bound", "tried", "minimal")}
        return {
            "format": FORMAT,
            "problem": self.problem.to_json(),
            "algorithm": self.algorithm.to_json(),
            **own,
            **numbers,
            "where": {name: value if isinstance(value, str) else _plain(value) for name, value in self.where.items()},
            "claimed": self.claimed if isinstance(self.claimed, int) else list(self.claimed),
            "history": list(self.history),
        }


def _plain(number: float) -> float | str:
    return float(number) if math.isfinite(number) else str(float(number))


def _is_measure(name: str | float) -> bool:
    try:
        return isinstance(name, str) and bool(build_measure(name))
    except TheorysimError:
        return False


# ------------------------------------------------------------------------------------------------ to and from JSON
def _whole(low: int) -> Kind:
    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= low

    return Kind(f"a whole number of at least {low}", holds)


_STEP = _whole(1)
_CLAIMED = Kind(
    "a step or a list of steps",
    lambda value: _STEP.holds(value) or (isinstance(value, list) and value != [] and all(map(_STEP.holds, value))),
)
_REAL = Kind("a number", lambda value: value is not None and not isinstance(value, bool) and NUMBER.holds(value))
_SPEC = {"kind": str, "name": str, "params": dict}
_SLACK = Kind("a number of at least 0", lambda value: _REAL.holds(value) and float(value) >= 0)
_NUMBERS = {"measured": _REAL, "limit": _REAL, "ratio": _REAL, "slack": _SLACK}
_JUDGED = {"of": str, "bound": str, "where": dict, **_NUMBERS}
SHAPE: dict[str, Any] = _JUDGED | {
    "problem": _SPEC,
    "algorithm": _SPEC,
    "steps": _STEP,
    "run": _whole(0),
    "seed": _whole(0),
    "claimed": _CLAIMED,
    "history": [str],
    "tried": _whole(0),
    "minimal": bool,
}
_CELL = {"problem": _SPEC, "algorithm": _SPEC, "steps": _STEP, "runs": _STEP, "first_run": _whole(0), "seed": _whole(0)}


def from_json(data: Any) -> Counterexample:
    """The counterexample that ``to_json`` wrote.

    Raises TheorysimError with a sentence for what is none, for another format, and for names that are not known here.
    """
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise TheorysimError(f"it has counterexample format {found}, this version reads {FORMAT}; run the check again")
    if trouble := mismatch(data, SHAPE, "counterexample"):
        raise TheorysimError(f"damaged: {trouble}")
    return Counterexample(
        problem=_spec_of(data["problem"], "problem"),
        algorithm=_spec_of(data["algorithm"], "algorithm"),
        claimed=data["claimed"] if isinstance(data["claimed"], int) else tuple(data["claimed"]),
        history=tuple(data["history"]),
        **{name: data[name] for name in ("steps", "run", "seed", "tried", "minimal")},
        **_judged(data),
    )


def from_reproducer(data: Mapping[str, Any]) -> Counterexample:
    """What bound_ratio reports of a violated bound, not yet made smaller; TheorysimError where it is no such report."""
    if trouble := mismatch(data, _JUDGED | {"cell": _CELL, "step": _STEP}, "reproducer"):
        raise TheorysimError(f"not the reproducer of a violated bound: {trouble}")
    cell = data["cell"]
    if cell["runs"] != 1:
        raise TheorysimError(f"a reproducer is one run, not {cell['runs']}; take the violating one by first_run")
    listed = (cell["steps"],) if cell["record"] == "last" else tuple(step for step in cell["record"] if step != 0)
    return Counterexample(
        problem=_spec_of(cell["problem"], "problem"),
        algorithm=_spec_of(cell["algorithm"], "algorithm"),
        steps=data["step"],
        run=cell["first_run"],
        seed=cell["seed"],
        claimed=cell["steps"] if cell["record"] in ("all", "log") else listed,
        **_judged(data),
    )


def _judged(data: Mapping[str, Any]) -> dict[str, Any]:
    """The measure, the bound and their numbers, with names and expressions looked up at once."""
    build_measure(data["of"])
    Bound(data["bound"])
    where = {name: source if _is_measure(source) else _source(name, source) for name, source in data["where"].items()}
    return {"of": data["of"], "bound": data["bound"], "where": where} | {name: float(data[name]) for name in _NUMBERS}


def _source(name: str, source: Any) -> str | float:
    """A hyper-parameter, whose name is looked up when it is run, or a number."""
    if not (isinstance(source, str) or _REAL.holds(source)):
        raise TheorysimError(f"{name} stands for {source!r}; allowed: a measure, a hyper-parameter or a number")
    return float(source) if _REAL.holds(source) else str(source)


def _spec_of(data: Mapping[str, Any], kind: str) -> Spec:
    """The Spec that ``Spec.to_json`` wrote, its names looked up."""
    if trouble := mismatch(data, _SPEC, kind):
        raise TheorysimError(f"damaged: {trouble}")
    if data["kind"] != kind:
        raise TheorysimError(f"damaged: {data['name']} is a {data['kind']} where a {kind} must stand")
    params = {key: _spec_of(value, "algorithm") if isinstance(value, dict) else value for key, value in data["params"].items()}
    return (problem if kind == "problem" else algorithm)(data["name"], **params)


def load_counterexample(path: str | Path) -> Counterexample:
    """The counterexample in a file, or the only one of a report folder; TheorysimError where there is none."""
    file = _only_file(Path(path)) if Path(path).is_dir() else Path(path)
    remedy = f"name a file that 'theorysim check' wrote into {FOLDER}/ beside a report"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TheorysimError(f"there is no file {file}; {remedy}") from None
    except (OSError, ValueError) as error:
        raise TheorysimError(f"{file} cannot be read as a counterexample ({error}); {remedy}") from None
    try:
        return from_json(data)
    except TheorysimError as error:
        raise TheorysimError(f"{file} cannot be replayed: {error}") from None


def _only_file(folder: Path) -> Path:
    files = sorted((folder if folder.resolve().name == FOLDER else folder / FOLDER).glob("*.json"))
    if len(files) != 1:
        names = ", ".join(map(str, files)) or "none"
        raise TheorysimError(f"{folder} holds {len(files)} counterexamples, not one: {names}; name the file")
    return files[0]
