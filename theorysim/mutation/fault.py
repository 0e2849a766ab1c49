"""A deliberate fault of an implementation, to see whether a paper's checks notice it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from theorysim.registry import PROBLEMS, Registry, parameters

ALGORITHM, WRAPPER, PROBLEM, BOUND = "algorithm", "wrapper", "problem", "bound"
FROZEN = "frozen"  # the name of the fault that no claim may let pass


@dataclass(frozen=True)
class Fault:
    """What is broken and how. ``breaks``: algorithm, wrapper (an algorithm around another one), problem or bound.

    ``change`` gives the faulty thing, or None where the fault has nothing to change. Of a factory:
    ``change(build, arguments)``, with ``build(**arguments)`` the sound Algorithm or Problem. Of a bound:
    ``change(evaluate, text, values)``, with ``evaluate(text, values)`` the value of any expression.
    ``needs``: parameters without which a factory cannot have this fault. ``only``: the names it is made for; empty: any.
    """

    name: str
    about: str
    breaks: str
    change: Callable[..., Any]
    needs: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def applies_to(self, registry: Registry, name: str) -> bool:
        """Can the registered factory ``name`` have this fault? Algorithms that are faulty on purpose cannot."""
        if name.startswith("faulty_") or (self.only and name not in self.only):
            return False
        return self.breaks == _kind(registry, name) and set(self.needs) <= set(parameters(registry, name))

    def broken(self, factory: Callable[..., Any], notice: Callable[[], None] = lambda: None) -> Callable[..., Any]:
        """``factory`` with this fault; ``notice()`` is called whenever the fault had something to change."""

        @functools.wraps(factory)
        def faulty(*context: Any, **arguments: Any) -> Any:
            changed = self.change(functools.partial(factory, *context), arguments)
            if changed is None:
                return factory(*context, **arguments)
            notice()
            return changed

        # A cell's key is made of the source of its factories' modules; without a source nothing is stored or read.
        faulty.__module__ = "__main__"
        return faulty


def _kind(registry: Registry, name: str) -> str:
    if registry is PROBLEMS:
        return PROBLEM
    types = [getattr(p.annotation, "__name__", p.annotation) for p in parameters(registry, name).values()]
    return WRAPPER if "Algorithm" in types else ALGORITHM
