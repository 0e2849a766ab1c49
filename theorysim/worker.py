"""What a worker process does: see that its sources are the sender's, work, and send back the result or the error."""

from __future__ import annotations

import functools
import hashlib
import importlib
import pickle
import platform
import sys
import threading
import traceback
from pathlib import Path

import numpy as np

from theorysim.backend import Backend, one_blas_thread, select
from theorysim.cell_key import cell_key
from theorysim.model import Cell, TheorysimError
from theorysim.registry import ALGORITHMS, ANALYSES, PAPERS, PROBLEMS

# NumPy's thread limits and the compilers belong to the whole process, so a worker with many threads uses one at a time.
_ONE_AT_A_TIME = threading.Lock()


@functools.cache
def sources() -> str:
    """A hash of all of theorysim, with the versions of Python and NumPy, as this process found them when it was first asked.

    Unlike the key of a cell it covers the paper checks, whose functions travel too, and what is imported only later.
    """
    files = {path.relative_to(folder).as_posix(): path for folder in (Path(__file__).parent,) for path in folder.rglob("*.py")}
    for registry in (PROBLEMS, ALGORITHMS, ANALYSES, PAPERS):
        folder = Path(next(iter(importlib.import_module(registry.package).__path__)))
        files |= {f"{registry.package.rpartition('.')[2]}/{path.name}": path for path in folder.glob("*.py")}
    lines = [f"Python {sys.version_info[:2]}, NumPy {np.__version__}"]
    lines += [f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for name, path in sorted(files.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@functools.cache
def backend(device: str) -> Backend:
    """This worker's own device of that name."""
    return select(device)


def about(device: str) -> tuple[str, str, str]:
    """A worker's sources, and the name and a description of the device it finds for that word of the command line."""
    found = backend(device)
    return sources(), found.name, found.describe()


def answer(sender: str, device: str, key: str | None, function: bytes, item: bytes) -> bytes:
    """Work for ``function(item)``, both pickled: a pickled ``(True, result)``, or ``(False, exception)``.

    ``sender``: the sources of the sender. ``key``: that of the cell, where the item is one. The bytes travel as they are, so
    a result is what it was, to the bit, and an exception is raised where it is understood.
    """
    with _ONE_AT_A_TIME, one_blas_thread():
        try:
            if sources() != sender:
                raise TheorysimError(other_sources(_here()))
            work = pickle.loads(item)
            if key is not None:
                _require_same(work, device, key)
            return pickle.dumps((True, pickle.loads(function)(work)), pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # whatever it is, it is for the sender to handle
            return pickle.dumps((False, _portable(error)), pickle.HIGHEST_PROTOCOL)


def other_sources(where: str) -> str:
    """What to say of a worker whose results would be those of another version."""
    return (
        f"the worker on {where} has other sources of theorysim, or another Python or NumPy, than this process, so its results "
        "would not be those of this version; install the same there and restart the workers"
    )


def _require_same(cell: Cell, device: str, key: str) -> None:
    """TheorysimError where this worker would compute something else under the name of the cell."""
    try:
        own = cell_key(cell, device)
    except TheorysimError as error:
        raise TheorysimError(f"the worker on {_here()}: {error}; what this process has must be installed there") from None
    if own != key:
        raise TheorysimError(
            f"the worker on {_here()} has another version of {cell.problem.name} or {cell.algorithm.name}, of a package they "
            "compute with, or of a data file they name, than this process; install the same there and restart the workers"
        )


def _here() -> str:
    return platform.node() or "an unnamed machine"


def _portable(error: Exception) -> Exception:
    """The error, with a note of where it happened unless it speaks for itself; its text only, where it cannot travel."""
    if not isinstance(error, TheorysimError):
        error.add_note(f"It was raised on {_here()}:\n{traceback.format_exc()}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
    return error
