"""Kernels of programs on the CPU: written as modules, compiled by Numba, kept on disk. Loads Numba."""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib.util
import inspect
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np

from theorysim import noise_cpu, noise_gpu, vector_units
from theorysim.backend import Backend, cores, in_kernel_threads
from theorysim.folders import KERNELS, cache_folder
from theorysim.fused.numba_source import PIECE, module
from theorysim.fused.program import Program
from theorysim.vector_units import call

_TASKS = 4  # tasks a core: the last ones of a busy machine are short
_SERIAL = 2**18  # coordinate updates, some 0.5 ms, below which another thread is not worth waking


def launch(
    backend: Backend,
    program: Program,
    numbers: tuple[int, int, Any, Any],
    where: tuple[Any, int],
    arrays: Sequence[Any],
) -> None:
    """Do the steps: ``numbers`` are the first step, the number of steps, scalars and rows; ``where``: run numbers and seed."""
    first, steps, scalars, rows = numbers
    runs, seed = where
    kernel = _compiled(program)
    units = len(runs) * -(-arrays[0].shape[1] // PIECE)
    fixed = (steps, first, runs, seed & 0xFFFFFFFF, seed >> 32, scalars, rows, *map(_of_one_kind, arrays))
    tasks = min(units, _TASKS * cores()) if arrays[0].size * steps >= _SERIAL else 1
    edges = [units * task // tasks for task in range(tasks + 1)]
    if tasks == 1 or cores() == 1:
        call(kernel, 0, units, *fixed)
    else:
        in_kernel_threads(lambda begin, end: call(kernel, begin, end, *fixed), edges[:-1], edges[1:])


def _of_one_kind(array: Any) -> Any:
    """The array, or a copy in C order that may be written: Numba compiles anew for any other kind."""
    return array if array.flags.c_contiguous and array.flags.writeable else np.array(array, order="C")


@functools.cache
def _compiled(program: Program) -> Any:
    name, text = _module(program)
    found = sys.modules.get(name)
    return (found or _imported(name, _file(name, text))).kernel


def is_ready(program: Program) -> bool:
    """Was the kernel compiled before, by this process or another?"""
    name, _ = _module(program)
    return name in sys.modules or os.path.exists(_folder() / f"{name}.py")


@functools.cache
def _module(program: Program) -> tuple[str, str]:
    """Name and text of the module of a kernel."""
    text = module(program)
    return "theorysim_kernel_" + hashlib.sha256((text + _surroundings()).encode()).hexdigest()[:32], text


@functools.cache
def _surroundings() -> str:
    """What a kernel depends on besides its text: Numba's own cache looks at the text alone."""
    modules = (noise_cpu, noise_gpu, vector_units)
    return "".join([*map(inspect.getsource, modules), str(numba.__version__), np.__version__])


def _file(name: str, text: str) -> Path:
    """The file of a module, written if it is not there; in a folder for this process where the cache cannot be written."""
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        return _written(_folder() / f"{name}.py", text)
    except OSError:
        return _written(_own_folder() / f"{name}.py", text)


def _written(path: Path, text: str) -> Path:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(draft, path)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise
    return path


def _folder() -> Path:
    return cache_folder() / KERNELS


@functools.cache
def _own_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="theorysim-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _imported(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made
