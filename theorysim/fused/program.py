"""From a step of an algorithm on a problem to a program for one coordinate, or to the finding that there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from theorysim.backend import Backend
from theorysim.fused.symbols import Operation, Symbol, Tape
from theorysim.model import Algorithm, Array, Draw, Problem
from theorysim.noise import Stream
from theorysim.oracle import Oracle


class Program(NamedTuple):
    """All of a step that a kernel depends on. ``results``: the places on the tape of the next state's arrays, and of what else
    is wanted; ``scalars``: how many numbers a step has."""

    operations: tuple[Operation, ...]
    results: tuple[int, ...]
    scalars: int


class Step(NamedTuple):
    """A step with its numbers. ``rest``: what the state holds after it besides arrays of the iterate's shape; ``calls``: what the
    oracle counted; ``steady``: the next step is the same to the last number."""

    program: Program
    tape: Tape
    rest: list[Any]
    calls: Mapping[str, Any]
    steady: bool

    def follows(self, other: Step) -> bool:
        """Is it the same program on the same large arrays as ``other``?"""
        mine, theirs = self.tape, other.tape
        return (
            self.program == other.program
            and all(a is b for a, b in zip(mine.coordinates, theirs.coordinates, strict=True))
            and all(a is b for a, b in zip(mine.entries, theirs.entries, strict=True))
        )


@dataclass(frozen=True)
class Form:
    """How a state is made up: ``pattern`` holds None for an array of the iterate's shape and True for anything else, in records
    like those of the state."""

    pattern: Any

    @staticmethod
    def of(state: Any, shape: tuple[int, ...], backend: Backend) -> Form:
        return Form(_mapped(state, lambda part: None if _is_iterate(part, shape, backend) else True))

    def parts(self, state: Any) -> tuple[list[Array], list[Any]]:
        """The arrays of the iterate's shape in a state, and the rest of it, in order. Raises TypeError for another form."""
        arrays: list[Array] = []
        rest: list[Any] = []
        _sort(self.pattern, state, arrays, rest)
        return arrays, rest

    def state(self, arrays: Sequence[Any], rest: Sequence[Any]) -> Any:
        """The state that is made up of these."""
        queues = {None: iter(arrays), True: iter(rest)}
        return _mapped(self.pattern, lambda kind: next(queues[kind]))


def _mapped(state: Any, function: Any) -> Any:
    if not isinstance(state, tuple):
        return function(state)
    inner = [_mapped(part, function) for part in state]
    return type(state)(*inner) if hasattr(state, "_fields") else tuple(inner)


def _sort(pattern: Any, state: Any, arrays: list[Any], rest: list[Any]) -> None:
    if isinstance(pattern, tuple):
        if type(state) is not type(pattern) or len(state) != len(pattern):
            raise TypeError(f"a state of another form, {type(state).__name__}")
        for inner, part in zip(pattern, state, strict=True):
            _sort(inner, part, arrays, rest)
    else:
        (arrays if pattern is None else rest).append(state)


def _is_iterate(part: Any, shape: tuple[int, ...], backend: Backend) -> bool:
    return getattr(part, "shape", None) == shape and part.dtype == backend.xp.float64


class _Moment:
    """Stands for the number of a step: random numbers that are drawn with it become symbols."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape

    def random(self, stream: Stream, draw: Draw, shape: tuple[int, ...], normal: bool) -> Symbol:
        return self.tape.random(stream, draw.call, shape, normal)


def steps(
    problem: Problem, algorithm: Algorithm, form: Form, rest: list[Any], backend: Backend, looked_at: bool
) -> Iterator[Step]:
    """One step after the other as programs, from the state with ``rest`` on; ends at a step that does more than treat each
    coordinate alone.

    ``looked_at``: the first point and answer of the oracle become results too, the last two.
    """
    shape, count = tuple(problem.start.shape), len(form.parts(form.pattern)[0])
    while True:
        tape, oracle = Tape(backend, shape, count), Oracle(problem)
        oracle.begin(_Moment(tape))  # type: ignore[arg-type]
        symbols = [Symbol(tape, place) for place in range(count)]
        try:
            results, after = form.parts(algorithm.step(form.state(symbols, rest), oracle))
            if looked_at:
                results += [oracle.point, oracle.answer]
            places = tuple(result.place for result in results)
        except Exception:  # whatever a step does that symbols do not know; the plain path says what is really wrong
            return
        if any(isinstance(part, Symbol) or _is_iterate(part, shape, backend) for part in after):
            return
        steady = all(a is b or _same_number(a, b) for a, b in zip(rest, after, strict=True))
        yield Step(Program(tuple(tape.operations), places, len(tape.scalars)), tape, after, oracle.calls, steady)
        rest = after


def _same_number(a: Any, b: Any) -> bool:
    return isinstance(a, int | float) and isinstance(b, int | float) and a == b
