"""Symbols in the place of iterates: a step that is run on them leaves a tape of what it does to one coordinate.

A symbol stands for a float64 array ``(rows, *shape)`` of which only one entry at a time is ever needed. What combines entries
(sums, products of matrices, indices) or asks for a value (``if``, ``float``) is not there and raises: such a step is no
coordinate-wise one. Only operations that are rounded correctly are there, so that whoever computes the tape again gets the
same bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from theorysim.backend import Backend
from theorysim.noise import Stream


class NotCoordinateWise(Exception):
    """The step does something that a tape of one coordinate cannot hold."""


Operation = tuple[Any, ...]
"""An entry of a tape: a kind, and the places on the tape that it is made of (-1 - k stands for number k of the step); for the

kinds of INPUTS the place in the tape's list of this kind; for the kinds of RANDOM the stream and the call.
"""

INPUTS = ("state", "row", "coordinate", "entry")
RANDOM = ("normal", "uniform")


class Tape:
    """What a step does to one coordinate. ``scalars``: numbers; ``rows``: ``(rows, 1, ...)`` arrays, a number for each row;
    ``coordinates``: arrays that broadcast to ``(1, *shape)``, the same for all rows; ``entries``: ``(rows, *shape)`` arrays.

    Numbers and row arrays may differ from step to step; the larger arrays must stay the very same objects.
    """

    __slots__ = ("_known", "backend", "coordinates", "entries", "operations", "rows", "scalars", "shape")

    def __init__(self, backend: Backend, shape: tuple[int, ...], states: int) -> None:
        self.backend, self.shape = backend, shape
        self.operations: list[Operation] = [("state", index) for index in range(states)]
        self.scalars: list[float] = []
        self.rows: list[Any] = []
        self.coordinates: list[Any] = []
        self.entries: list[Any] = []
        self._known: dict[int, int] = {}

    def write(self, operation: Operation) -> Symbol:
        self.operations.append(operation)
        return Symbol(self, len(self.operations) - 1)

    def random(self, stream: Stream, call: int, shape: tuple[int, ...], normal: bool) -> Symbol:
        """The random number of each coordinate, in the place of noise.Draws."""
        if math.prod(shape) != math.prod(self.shape[1:]):
            raise NotCoordinateWise(f"random numbers of shape {shape} for iterates of shape {self.shape[1:]}")
        return self.write(("normal" if normal else "uniform", int(stream), call))

    def place(self, value: Any) -> int:
        """Where an operand is: a symbol, a number, or an array, which becomes an input."""
        kind = type(value)
        if kind is Symbol:
            return value.place  # type: ignore[no-any-return]
        if kind is float or kind is int or (isinstance(value, np.ndarray | np.generic | float | int) and np.ndim(value) == 0):
            self.scalars.append(float(value))
            return -len(self.scalars)
        found = self._known.get(id(value))
        if found is None:
            found = self._known[id(value)] = self._array(value).place
        return found

    def _array(self, value: Any) -> Symbol:
        shape = getattr(value, "shape", None)
        if shape is None or value.dtype != self.backend.xp.float64 or len(shape) > len(self.shape):
            raise NotCoordinateWise(f"an operand of type {type(value).__name__}")
        if shape == self.shape:
            return self._input("entry", self.entries, value)
        if shape == (self.shape[0], *[1] * (len(self.shape) - 1)):
            return self._input("row", self.rows, value)
        if math.prod(shape) == 1:
            raise NotCoordinateWise("a number on the device")
        if np.broadcast_shapes(shape, (1, *self.shape[1:])) == (1, *self.shape[1:]):
            return self._input("coordinate", self.coordinates, value)
        raise NotCoordinateWise(f"an operand of shape {shape}")

    def _input(self, kind: str, held: list[Any], value: Any) -> Symbol:
        held.append(value)
        return self.write((kind, len(held) - 1))


class Symbol:
    """A float64 array ``(rows, *shape)``, or one of truth values, that is not there."""

    __slots__ = ("place", "tape")
    __array_ufunc__ = None  # NumPy then leaves array * symbol to __rmul__
    __array_priority__ = 1000.0  # and so does CuPy

    def __init__(self, tape: Tape, place: int) -> None:
        self.tape, self.place = tape, place

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tape.shape

    @property
    def ndim(self) -> int:
        return len(self.tape.shape)

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return Namespace

    def _binary(self, kind: str, other: Any) -> Symbol:
        tape = self.tape
        return tape.write((kind, self.place, tape.place(other)))

    def _reflected(self, kind: str, other: Any) -> Symbol:
        tape = self.tape
        return tape.write((kind, tape.place(other), self.place))

    def __add__(self, other: Any) -> Symbol:
        return self._binary("add", other)

    def __radd__(self, other: Any) -> Symbol:
        return self._reflected("add", other)

    def __sub__(self, other: Any) -> Symbol:
        return self._binary("subtract", other)

    def __rsub__(self, other: Any) -> Symbol:
        return self._reflected("subtract", other)

    def __mul__(self, other: Any) -> Symbol:
        return self._binary("multiply", other)

    def __rmul__(self, other: Any) -> Symbol:
        return self._reflected("multiply", other)

    def __truediv__(self, other: Any) -> Symbol:
        return self._binary("divide", other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return self._reflected("divide", other)

    def __neg__(self) -> Symbol:
        return self.tape.write(("negative", self.place))

    def __abs__(self) -> Symbol:
        return self.tape.write(("abs", self.place))

    def __pow__(self, power: Any) -> Symbol:
        """The square: the only power that NumPy rounds correctly."""
        if not isinstance(power, int | float) or power != 2:
            raise NotCoordinateWise(f"the power {power}")
        return self._binary("multiply", self)

    def __lt__(self, other: Any) -> Symbol:
        return self._binary("less", other)

    def __le__(self, other: Any) -> Symbol:
        return self._binary("less_equal", other)

    def __gt__(self, other: Any) -> Symbol:
        return self._reflected("less", other)

    def __ge__(self, other: Any) -> Symbol:
        return self._reflected("less_equal", other)

    def __eq__(self, other: object) -> Symbol:  # type: ignore[override]
        return self._binary("equal", other)

    def __ne__(self, other: object) -> Symbol:  # type: ignore[override]
        return self._binary("not_equal", other)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Any) -> Symbol:
        return self._binary("and", other)

    def __or__(self, other: Any) -> Symbol:
        return self._binary("or", other)

    def __invert__(self) -> Symbol:
        return self.tape.write(("not", self.place))

    def __bool__(self) -> bool:
        raise NotCoordinateWise("a decision that depends on the iterate")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise NotCoordinateWise("the values of the iterate")


class Namespace:
    """The functions of the array API standard that treat each entry alone and round correctly."""

    inf, nan, float64 = np.inf, np.nan, np.float64

    @staticmethod
    def sqrt(x: Symbol) -> Symbol:
        return x.tape.write(("sqrt", x.place))

    @staticmethod
    def square(x: Symbol) -> Symbol:
        return x * x

    @staticmethod
    def abs(x: Symbol) -> Symbol:
        return x.tape.write(("abs", x.place))

    @staticmethod
    def sign(x: Symbol) -> Symbol:
        return x.tape.write(("sign", x.place))

    @staticmethod
    def maximum(x: Any, y: Any) -> Symbol:
        return _joint("maximum", x, y)

    @staticmethod
    def minimum(x: Any, y: Any) -> Symbol:
        return _joint("minimum", x, y)

    @staticmethod
    def where(condition: Symbol, x: Any, y: Any) -> Symbol:
        tape = condition.tape
        return tape.write(("where", condition.place, tape.place(x), tape.place(y)))

    @staticmethod
    def clip(x: Symbol, min: Any = None, max: Any = None) -> Symbol:
        above = x if min is None else x._binary("raise_to", min)
        return above if max is None else above._binary("cut_to", max)

    @staticmethod
    def zeros_like(x: Symbol) -> Symbol:
        return x.tape.write(("number", x.tape.place(0.0)))

    @staticmethod
    def ones_like(x: Symbol) -> Symbol:
        return x.tape.write(("number", x.tape.place(1.0)))


def _joint(kind: str, x: Any, y: Any) -> Symbol:
    tape = next(each.tape for each in (x, y) if isinstance(each, Symbol))
    return tape.write((kind, tape.place(x), tape.place(y)))
