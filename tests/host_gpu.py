"""A GPU played by the C++ compiler: everything of the GPU path but CuPy itself and the hardware."""

from __future__ import annotations

import ctypes
import hashlib
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from theorysim.backend import CPU, Backend

_HOST = r"""
#include <cmath>
#include <cstring>
using std::fabs;
using std::fma;
using std::sqrt;
#define __device__ static
#define __global__ static
static struct { unsigned x; } blockIdx, blockDim, threadIdx;
static long long __double_as_longlong(double x) { long long y; std::memcpy(&y, &x, 8); return y; }
static double __longlong_as_double(long long x) { double y; std::memcpy(&y, &x, 8); return y; }
"""
_LAUNCH = r"""
extern "C" void {entry}(unsigned blocks, unsigned threads, const long long* values)
{{
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x)
            {entry}_::{name}({arguments});
}}
"""


def _entry(source: str) -> str:
    return "entry_" + hashlib.sha256(source.encode()).hexdigest()[:16]


def _piece(source: str, name: str) -> str:
    """One kernel in a namespace of its own, and a function that calls it for every thread, one after the other."""
    found = re.search(rf'extern "C" __global__ void {name}\(([^)]*)\)', source)
    assert found is not None, f"no kernel {name}"
    types = [re.sub(r"\w+$", "", parameter.strip()).replace("u32", "unsigned") for parameter in found[1].split(",")]
    arguments = ", ".join(f"({kind})values[{i}]" for i, kind in enumerate(types))
    entry, inner = _entry(source), source.replace('extern "C" __global__', "__global__")
    return f"namespace {entry}_ {{\n{inner}\n}}\n" + _LAUNCH.format(entry=entry, name=name, arguments=arguments)


@dataclass(frozen=True)
class HostGpu(Backend):
    """``prepare`` compiles many kernels at once; one that was not prepared is compiled when it is wanted."""

    name: str = "gpu"
    xp: Any = CPU.xp
    folder: Path = Path()
    entries: dict[str, Any] = field(default_factory=dict, hash=False)

    def prepare(self, kernels: Iterable[tuple[str, str]]) -> None:
        """Compile (source, name) pairs."""
        fresh = {source: name for source, name in kernels if source not in self.entries}
        if not fresh:
            return
        path = self.folder / f"kernels_{len(self.entries)}.cpp"
        path.write_text(_HOST + "".join(_piece(source, name) for source, name in fresh.items()))
        options = ["-O1", "-ffp-contract=off", "-shared", "-fPIC", "-w"]
        subprocess.run(["g++", *options, str(path), "-o", str(path.with_suffix(".so"))], check=True)
        library = ctypes.CDLL(str(path.with_suffix(".so")))
        self.entries.update({source: getattr(library, _entry(source)) for source in fresh})

    def kernel(self, source: str, name: str) -> Callable[..., None]:
        self.prepare([(source, name)])

        def launch(blocks: tuple[int], threads: tuple[int], arguments: tuple[Any, ...]) -> None:
            values = [value if isinstance(value, int) else _address(value) for value in arguments]
            self.entries[source](*blocks, *threads, (ctypes.c_longlong * len(values))(*values))

        return launch

    def free_memory(self) -> int:
        return CPU.free_memory()

    def release_memory(self) -> None:
        CPU.release_memory()

    def describe(self) -> str:
        return "a GPU played by the CPU"


def _address(array: Any) -> int:
    assert array.flags["C_CONTIGUOUS"], "a kernel sees the memory alone"
    return int(array.ctypes.data)
