"""The CUDA kernel of a program, as text.

A thread takes the four coordinates of one Philox block of one row, or one coordinate where nothing is drawn, over all steps, with
their state in registers: memory is touched at the first and the last step only. Threads of neighbouring blocks read
neighbouring numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from theorysim.fused.numba_source import places
from theorysim.fused.program import Program
from theorysim.fused.source import C, body
from theorysim.fused.symbols import RANDOM
from theorysim.noise_gpu import DEVICE

NAME = "advance"

_TEXT = """
extern "C" __global__ void {name}({parameters})
{{
    const long long blocks = {blocks};
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= rows * blocks) return;
    const long long row = thread / blocks, block = thread % blocks;
    const long long first = {first};
{run}    double {registers};
    #pragma unroll
    for (int lane = 0; lane < {lanes}; ++lane) {{
        const long long j = first + lane * LANES;
        const bool inside = j < size;
        {load}
    }}
    for (long long s = 0; s < steps; ++s) {{
        {draw}
        {numbers}
        #pragma unroll
        for (int lane = 0; lane < {lanes}; ++lane) {{
            {body}
        }}
    }}
    #pragma unroll
    for (int lane = 0; lane < {lanes}; ++lane) {{
        const long long j = first + lane * LANES;
        if (j < size) {{
            {store}
        }}
    }}
}}
"""
_COUNTS = ("rows", "size", "count", "steps", "step", "key0", "key1")


def lanes(program: Program) -> int:
    """How many coordinates a thread takes."""
    return 4 if any(kind in RANDOM for kind, *_ in program.operations) else 1


@functools.cache
def source(program: Program) -> str:
    """A kernel ``advance`` that does ``steps`` steps from number ``step`` on, for ``rows`` rows of ``size`` coordinates.

    Its parameters after these: ``count`` and ``runs``, the numbers of the runs, row i being of run i modulo count; the halves of
    the seed; ``scalars`` (steps, k) and ``of_rows`` (steps, k, rows): the numbers of each step; then in the order of the program
    the arrays of the state (rows, size), the results (rows, size), the coordinates (size,) and the entries (rows, size). A
    result may be the array of the state in its place.
    """
    inputs = {kind: places(program, kind) for kind in ("state", "row", "coordinate", "entry")}
    drawn = [place for place, (kind, *_) in enumerate(program.operations) if kind in RANDOM]
    states, width = len(inputs["state"]), lanes(program)
    kept = {place: f"x{slot}" for slot, place in enumerate(inputs["state"])}
    fixed = {place: f"c{place}" for place in inputs["coordinate"] + inputs["entry"]}
    looked_at = [f"x{slot}" for slot in range(states, len(program.results))]
    every = [*kept.values(), *fixed.values(), *looked_at, *(f"v{place}" for place in drawn)]
    at = kept | fixed | {place: f"v{place}" for place in drawn}
    return DEVICE + _TEXT.format(
        name=NAME,
        parameters=", ".join(_parameters(inputs, len(program.results))),
        blocks="(size + 4 * LANES - 1) / (4 * LANES) * LANES" if drawn else "size",
        first="block / LANES * (4 * LANES) + block % LANES" if drawn else "block",
        lanes=width,
        run="    const u32 run = runs[row % count];\n" if drawn else "",
        registers=", ".join(f"{name}[{width}]" for name in every),
        load=_block(2, _loads(inputs)),
        draw=_block(2, (_draw(program, place) for place in drawn)),
        numbers=_block(
            2,
            [f"const double s{i + 1} = scalars[s * {program.scalars} + {i}];" for i in range(program.scalars)]
            + [
                f"const double n{place} = of_rows[(s * {len(inputs['row'])} + {i}) * rows + row];"
                for i, place in enumerate(inputs["row"])
            ],
        ),
        body=_block(
            3,
            [f"const double n{place} = {name}[lane];" for place, name in at.items()]
            + body(program, C)
            + [f"x{slot}[lane] = n{result};" for slot, result in enumerate(program.results)],
        ),
        store=_block(3, (f"b{slot}[row * size + j] = x{slot}[lane];" for slot in range(len(program.results)))),
    )


def _parameters(inputs: dict[str, list[int]], results: int) -> list[str]:
    """A state array and a result may be one: these two promise nothing about each other."""
    return [
        *(f"long long {name}" for name in _COUNTS),
        "const u32* runs",
        "const double* scalars",
        "const double* of_rows",
        *(f"const double* a{i}" for i in range(len(inputs["state"]))),
        *(f"double* b{i}" for i in range(results)),
        *(f"const double* d{i}" for i in range(len(inputs["coordinate"]))),
        *(f"const double* e{i}" for i in range(len(inputs["entry"]))),
    ]


def _loads(inputs: dict[str, list[int]]) -> list[str]:
    places = [f"x{i}[lane] = inside ? a{i}[row * size + j] : 0.0;" for i, _ in enumerate(inputs["state"])]
    places += [f"c{place}[lane] = inside ? d{i}[j] : 0.0;" for i, place in enumerate(inputs["coordinate"])]
    return places + [f"c{place}[lane] = inside ? e{i}[row * size + j] : 0.0;" for i, place in enumerate(inputs["entry"])]


def _draw(program: Program, place: int) -> str:
    kind, stream, call = program.operations[place]
    return f"draw(v{place}, block, step + s, run, {stream + 16 * call}u, key0, key1, {str(kind == 'normal').lower()});"


def _block(depth: int, lines: Iterable[str]) -> str:
    return ("\n" + 4 * depth * " ").join(lines)
