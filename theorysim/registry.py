"""Names to factories: a folder is a registry.

A file ``problems/<name>.py`` that holds a function ``<name>`` under ``@register_problem`` is a problem; likewise for
algorithms, analyses and, with ``@claim``, papers. Other packages add theirs by the entry-point groups
``theorysim.problems``, ``.algorithms``, ``.analyses`` and ``.papers``; a notebook by calling the decorators.
A file is imported when its name is first asked for; listing names imports nothing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import math
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

from theorysim.model import KINDS, Claim, Control, Paper, Search, Spec, TheorysimError
from theorysim.validation import one_of, unknown

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Registry:
    """Factories of one kind, found by name in a folder, in other packages' entry points, or registered by hand."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._found: dict[str, Any] = {}

    def register(self, factory: F) -> F:
        """Add ``factory`` under its own name; the decorator of a content file. A second definition elsewhere is an error."""
        return self.add(factory.__name__, factory)

    def registered(self, name: str) -> Any:
        """What is registered under that name so far, without looking for a file; None if nothing is."""
        return self._found.get(name)

    def add(self, name: str, thing: T) -> T:
        known = self._found.get(name)
        if known is not None and known.__module__ != thing.__module__:
            raise TheorysimError(
                f"{self.kind} {name!r} is defined twice: in {known.__module__} and in {thing.__module__}; rename one"
            )
        self._found[name] = thing
        return thing

    def names(self) -> list[str]:
        return sorted({*self._found, *self._files(), *self._entry_points()})

    def get(self, name: str) -> Any:
        """The factory (or paper) of that name; TheorysimError with the nearest names if there is none."""
        if name not in self._found:
            if name in self._files():
                importlib.import_module(f"{self.package}.{name}")
            elif name in self._entry_points():
                self._load(self._entry_points()[name])
        if name not in self._found:
            raise unknown(self.kind, name, self.names())
        return self._found[name]

    @contextmanager
    def replaced(self, name: str, factory: Any) -> Iterator[None]:
        """Another factory in the place of ``name``, for a while; afterwards the first one is back, whatever happened."""
        sound = self.get(name)
        self._found[name] = factory
        try:
            yield
        finally:
            self._found[name] = sound

    def _load(self, point: importlib.metadata.EntryPoint) -> None:
        """Import a plug-in: a factory, or a module whose decorators register what is in it."""
        try:
            thing = point.load()
        except Exception as error:  # anything may go wrong in another package; say where
            raise TheorysimError(
                f"the plug-in {point.name} = {point.value} cannot be loaded: {error!r}; repair or remove it"
            ) from error
        if not isinstance(thing, ModuleType):
            self._found.setdefault(point.name, thing)

    def _files(self) -> set[str]:
        package = importlib.import_module(self.package)
        return {module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")}

    def _entry_points(self) -> dict[str, importlib.metadata.EntryPoint]:
        return {
            point.name: point for point in importlib.metadata.entry_points(group=self.package.replace("paper_checks", "papers"))
        }


PROBLEMS = Registry("problem", "theorysim.problems")
ALGORITHMS = Registry("algorithm", "theorysim.algorithms")
ANALYSES = Registry("analysis", "theorysim.analyses")
PAPERS = Registry("paper", "theorysim.paper_checks")

register_problem = PROBLEMS.register
register_algorithm = ALGORITHMS.register
register_analysis = ANALYSES.register


# ------------------------------------------------------------------------------------------------ papers and claims
@dataclass
class PaperCheck:
    """A paper with its claims by name, in the order of the file."""

    paper: Paper
    claims: dict[str, Claim] = field(default_factory=dict)

    def select(self, names: Iterable[str] | None) -> list[Claim]:
        if names is None:
            return list(self.claims.values())
        for name in names:
            if name not in self.claims:
                raise unknown(f"claim of {self.paper.name}", name, self.claims)
        return [self.claims[name] for name in names]


def claim(
    paper: Paper,
    *,
    source: str,
    kind: str,
    statement: str,
    controls: Iterable[Control],
    bound: str = "",
    assumptions: str = "",
    search: Search | None = None,
) -> Callable[[F], F]:
    """Register a function ``(lab, **setting) -> Finding`` as a claim of ``paper``; see model.Claim for the fields.

    A claim without a control is refused: a check that cannot fail says nothing.
    """

    def decorate(function: F) -> F:
        one_of("kind", kind, KINDS)
        listed = tuple(controls)
        if not any(control.fires for control in listed):
            raise TheorysimError(f"claim {function.__name__!r} has no control that must fail; add one")
        check = PAPERS.registered(paper.name) or PAPERS.add(paper.name, PaperCheck(paper))
        if check.paper != paper:
            raise TheorysimError(f"two different papers are named {paper.name!r}; rename one")
        check.claims[function.__name__] = Claim(
            paper, function.__name__, function, kind, source, statement, bound, listed, assumptions, search
        )
        return function

    return decorate


# ------------------------------------------------------------------------------------------------ specs
def problem(name: str, **params: Any) -> Spec:
    """The Spec of a registered problem; unknown names and parameters fail here, with the nearest known ones."""
    return _spec(PROBLEMS, name, params)


def algorithm(name: str, **params: Any) -> Spec:
    """The Spec of a registered algorithm. A list of numbers is one value per variant: all variants run as one batch.
    Text is an expression in the problem's constants: ``lr="D_inf_0/sqrt(2)"``."""
    return _spec(ALGORITHMS, name, params)


def parameters(registry: Registry, name: str) -> dict[str, inspect.Parameter]:
    """The parameters a user may set, in order: those of the factory's signature that have no leading context argument."""
    signature = inspect.signature(registry.get(name))
    return {key: p for key, p in signature.parameters.items() if key != "draws"}


def _spec(registry: Registry, name: str, params: dict[str, Any]) -> Spec:
    known = parameters(registry, name)
    for key in params:
        if key not in known:
            raise unknown(f"parameter of {registry.kind} {name}", key, known)
    missing = [key for key, p in known.items() if p.default is inspect.Parameter.empty and key not in params]
    if missing:
        raise TheorysimError(f"{registry.kind} {name} needs {', '.join(missing)}; give {missing[0]}=...")
    return Spec(registry.kind, name, tuple(sorted((key, _value(f"{name}: {key}", value)) for key, value in params.items())))


def _value(name: str, value: Any) -> Any:
    """The value as plain Python (numpy scalars and arrays converted), refused where it could not travel as JSON."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple | range):
        if not value:
            raise TheorysimError(f"{name}: the list is empty; give at least one value")
        return tuple(_value(name, item) for item in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise TheorysimError(f"{name}={value} is not finite; give a finite number")
    if value is None or isinstance(value, bool | int | float | str | Spec):
        return value
    raise TheorysimError(f"{name}={value!r} is not a number, text, list or Spec")
