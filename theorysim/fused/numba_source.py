"""The Numba kernel of a program, as the text of a module.

A unit of work is one piece of ``PIECE`` coordinates of one run, in all its variants, over all steps: its numbers stay in the
cache, and a random number is drawn once for all variants. Loops over coordinates run over slots of scratch arrays that stand
at fixed distances, so that LLVM sees that they do not overlap and makes vector instructions of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from theorysim.fused.program import Program
from theorysim.fused.source import PYTHON, body

PIECE = 1024  # coordinates: 8 kB an array

_TEXT = '''\
"""A fused step, written by theorysim."""

import numpy as np
from numba import njit

from theorysim.noise_cpu import copied, fill_piece, scratch
from theorysim.vector_units import wide_vectors


@njit(cache=True, nogil=True, error_model="numpy")
def kernel(begin, end, steps, step, runs, low, high, scalars, rows, {arrays}):
    wide_vectors()
    count, size = len(runs), a0.shape[1]
    variants, pieces = a0.shape[0] // count, -(-size // {piece})
    shared, own = np.empty({shared}), np.empty((variants, {own}))
    words, radii, numbers = scratch()
    for unit in range(begin, end):
        run, first = unit // pieces, unit % pieces * {piece}
        length = min({piece}, size - first)
        {load_shared}
        for variant in range(variants):
            row, part = variant * count + run, own[variant]
            {load_own}
        for s in range(steps):
            {draw}
            for variant in range(variants):
                row, part = variant * count + run, own[variant]
                {numbers}
                for j in range(length):
                    {body}
        for variant in range(variants):
            row, part = variant * count + run, own[variant]
            {store}
'''


def module(program: Program) -> str:
    """The text of a module with a function ``kernel``, which does the units from ``begin`` to ``end``.

    ``step``: the number of the first of ``steps`` steps; ``runs``: (runs,) run numbers; ``low``, ``high``: the halves of the
    seed; ``scalars`` (steps, k) and ``rows`` (steps, k, rows): the numbers of each step; then in the order of the program the
    arrays of the state (rows, size), the results (rows, size), the coordinates (size,) and the entries (rows, size). A result
    may be the array of the state in its place.
    """
    inputs = {kind: places(program, kind) for kind in ("state", "row", "coordinate", "entry")}
    drawn = [place for place, operation in enumerate(program.operations) if operation[0] in ("normal", "uniform")]
    states, results = len(inputs["state"]), len(program.results)
    coordinates, entries = len(inputs["coordinate"]), len(inputs["entry"])
    in_shared = inputs["coordinate"] + drawn
    own = {place: slot for slot, place in enumerate(inputs["state"])}
    own |= {place: results + slot for slot, place in enumerate(inputs["entry"])}
    groups = (("a", states), ("b", results), ("c", coordinates), ("e", entries))
    arrays = [f"{letter}{i}" for letter, count in groups for i in range(count)]
    at = {place: f"part[{_slot(slot)}j]" for place, slot in own.items()}
    at |= {place: f"shared[{_slot(slot)}j]" for slot, place in enumerate(in_shared)}
    written = [(slot, result) for slot, result in enumerate(program.results) if slot >= states or result != slot]
    return _TEXT.format(
        arrays=", ".join(arrays),
        piece=PIECE,
        shared=max(1, len(in_shared)) * PIECE,
        own=(results + entries) * PIECE,
        load_shared=_block(2, (f"copied({_piece('shared', i)}, c{i}[first : first + length])" for i in range(coordinates))),
        load_own=_block(
            3,
            [f"copied({_piece('part', i)}, a{i}[row, first : first + length])" for i in range(states)]
            + [f"copied({_piece('part', results + i)}, e{i}[row, first : first + length])" for i in range(entries)],
        ),
        draw=_block(3, (_draw(program, place, coordinates + i) for i, place in enumerate(drawn))),
        numbers=_block(
            4,
            [f"s{i + 1} = scalars[s, {i}]" for i in range(program.scalars)]
            + [f"n{place} = rows[s, {i}, row]" for i, place in enumerate(inputs["row"])],
        ),
        body=_block(
            5,
            [f"n{place} = {text}" for place, text in at.items()]
            + body(program, PYTHON)
            + [f"part[{_slot(slot)}j] = n{result}" for slot, result in written],
        ),
        store=_block(3, (f"copied(b{i}[row, first : first + length], {_piece('part', i)})" for i in range(results))),
    )


def places(program: Program, kind: str) -> list[int]:
    """The places of the inputs of a kind, in their order."""
    return [place for place, operation in enumerate(program.operations) if operation[0] == kind]


def _slot(slot: int) -> str:
    return f"{slot * PIECE} + " if slot else ""


def _piece(array: str, slot: int) -> str:
    return f"{array}[{slot * PIECE} : {slot * PIECE} + length]"


def _draw(program: Program, place: int, slot: int) -> str:
    kind, stream, call = program.operations[place]
    where = f"(step + s, {stream + 16 * call}, low, high)"
    return f"fill_piece({_piece('shared', slot)}, words, radii, numbers, first, runs[run], {where}, {kind == 'normal'})"


def _block(depth: int, lines: Iterable[str]) -> str:
    return ("\n" + 4 * depth * " ").join(lines) or "pass"
