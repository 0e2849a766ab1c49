"""Results on disk: one file a cell, written whole or not at all, checked when read.

A file is a magic number, a SHA-256 of its key and of what follows, and an npz archive; its name is the key, see cell_key.py.
A file that does not check is treated as absent, so a damaged cell is computed again. Several processes may use a store at
once. The store serves the work, not the other way round: where it cannot be read or written, cells are computed all the
same and remembered for as long as the process lives, and a warning says once that they are not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from theorysim.cell_key import FORMAT, cell_key
from theorysim.folders import KERNELS, cache_folder
from theorysim.model import Cell, TheorysimError
from theorysim.trace import Trace

_MAGIC = b"theorysim cell 1\n"
_LABEL, _SUFFIX, _UNFINISHED = "store.json", ".cell", ".writing-"
_ABANDONED = 3600.0  # seconds after which nobody is writing an unfinished file any more


class CellsNotKept(UserWarning):
    """Results were computed and used, but could not be written to the store."""


class Store:
    """Cells below one folder, which is made when the first one is kept.

    ``trouble``: why cells are not kept; empty as long as they are. Raises TheorysimError for a folder that another version,
    or another program, has labelled: only its owner can say what may become of it.
    """

    trouble = ""

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = Path(folder) if folder is not None else cache_folder()
        self._unwritten: dict[str, bytes] = {}
        try:
            found = json.loads((self.folder / _LABEL).read_text()).get("format")
        except OSError:  # not there yet, or not to be read, which is no reason not to work
            found = FORMAT
        except (ValueError, AttributeError):
            found = "unknown"
        if found != FORMAT:
            raise TheorysimError(
                f"the store {self.folder} has format {found}, this version reads {FORMAT}; "
                "run 'theorysim cache clear' or set THEORYSIM_CACHE to another folder"
            )
        _remove_abandoned(_unfinished(self.folder))

    def load(self, cell: Cell, device: str) -> Trace | None:
        """The stored trace of a cell, or None where there is none, or it cannot be read or does not check."""
        key = cell_key(cell, device)
        if key is None:
            return None
        try:
            raw = self._unwritten[key] if key in self._unwritten else self._path(key).read_bytes()
            payload = raw[len(_head(key, b"")) :]
            return _unpack(cell, payload) if raw.startswith(_head(key, payload)) else None
        except Exception:  # of the system, or of NumPy's reader in what is no archive of ours in spite of its checksum
            return None

    def save(self, trace: Trace, device: str) -> None:
        """Keep a trace; where it cannot be written, in memory, which is said once.

        Never kept are cells of factories whose source cannot be read (typed at a prompt), and parameters that are neither
        numbers nor text.
        """
        key = cell_key(trace.cell, device)
        payload = _pack(trace) if key is not None else None
        if key is None or payload is None:
            return
        raw = _head(key, payload) + payload
        try:
            if not (self.folder / _LABEL).exists():
                self._write(self.folder / _LABEL, json.dumps({"format": FORMAT}).encode())
            self._write(self._path(key), raw)
        except OSError as error:
            self._unwritten[key] = raw
            self._warn(error.strerror or str(error))

    def usage(self) -> tuple[int, int]:
        """Number of cells and their size in bytes."""
        sizes = [size for path in _cells(self.folder) if (size := _size(path)) is not None]
        return len(sizes), sum(sizes)

    def _path(self, key: str) -> Path:
        return self.folder / "cells" / key[:2] / f"{key}{_SUFFIX}"

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file whole or not at all. Unfinished ones lie in one folder, where they are found without a search."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=_UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if path.is_dir():  # no file can replace it
                shutil.rmtree(path)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _warn(self, why: str) -> None:
        if not self.trouble:
            self.trouble = (
                f"the store {self.folder} cannot be written ({why}): the work goes on, but what is computed now is not kept "
                "for a later run; free some space, run 'theorysim cache clear' or set THEORYSIM_CACHE to a folder you can write"
            )
            warnings.warn(self.trouble, CellsNotKept, stacklevel=3)


def clear(folder: Path) -> int:
    """Delete every cell of a store, of whatever format, compiled kernels, and what killed processes left behind; returns how
    many cells.

    Raises TheorysimError where that is not allowed.
    """
    if not folder.is_dir():
        return 0
    try:
        (folder / _LABEL).unlink(missing_ok=True)
        deleted = sum(_deleted(path) for path in _cells(folder))
        shutil.rmtree(folder / KERNELS, ignore_errors=True)
    except OSError as error:
        raise TheorysimError(
            f"the store {folder} cannot be cleared ({error.strerror or error}); delete it by hand or set THEORYSIM_CACHE"
        ) from None
    _remove_abandoned([*_unfinished(folder), *_below(folder)])
    return deleted


def _cells(folder: Path) -> list[Path]:
    return sorted(path for path in _below(folder) if path.suffix == _SUFFIX)


def _below(folder: Path) -> Iterator[Path]:
    """All files among the cells; ``os.walk`` passes over folders that vanish or cannot be read."""
    for parent, _, names in os.walk(folder / "cells"):
        yield from (Path(parent, name) for name in names)


def _unfinished(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder) if name.startswith(_UNFINISHED)]
    except OSError:
        return []


def _remove_abandoned(paths: Iterable[Path]) -> None:
    """Delete the unfinished files of processes that were killed; those of others may be on their way."""
    for path in paths:
        with contextlib.suppress(OSError):
            if path.name.startswith(_UNFINISHED) and time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


def _size(path: Path) -> int | None:
    """Another process may have deleted what was there a moment ago: then None."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def _deleted(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _head(key: str, payload: bytes) -> bytes:
    """What a cell's file begins with. The key makes a file that was moved to another cell's name fail the check."""
    return _MAGIC + hashlib.sha256(key.encode() + payload).digest()


def _pack(trace: Trace) -> bytes | None:
    arrays: dict[str, Any] = {
        "steps": trace.steps,
        "communications": trace.communications,
        "status": trace.status,
        "runs": trace.runs,
    }
    for group in ("values", "oracle_calls", "parameters", "constants"):
        arrays |= {f"{group}/{name}": np.asarray(value) for name, value in getattr(trace, group).items()}
    arrays["environment"] = np.array(trace.environment)
    if any(array.dtype.hasobject for array in arrays.values()):
        return None
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _unpack(cell: Cell, payload: bytes) -> Trace:
    groups: dict[str, dict[str, Any]] = {"values": {}, "oracle_calls": {}, "parameters": {}, "constants": {}}
    fields: dict[str, Any] = {**groups}
    with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
        for key in archive.files:
            group, _, name = key.partition("/")
            value = archive[key]
            if name:
                groups[group][name] = value.item() if group == "constants" and value.ndim == 0 else value
            else:
                fields[key] = value
    return Trace(cell=cell, **{**fields, "environment": str(fields["environment"])})
