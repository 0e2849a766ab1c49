"""Results on disk: one file a cell, written whole or not at all, checked when read.

A file is a magic number, the SHA-256 of what follows, and an npz archive. Its name is a hash of everything the result
depends on: the cell, the device, the data files it names, and the source text of the engine, of the two factories and of
what they import. A file that does not check is treated as absent, so a damaged cell is computed again.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from theorysim.model import Cell, Spec, TheorysimError
from theorysim.registry import ALGORITHMS, PROBLEMS
from theorysim.trace import Trace

FORMAT = 1
_MAGIC = b"theorysim cell 1\n"


def default_folder() -> Path:
    """``$THEORYSIM_CACHE``, or this user's cache folder."""
    import platformdirs

    return Path(os.environ.get("THEORYSIM_CACHE") or platformdirs.user_cache_dir("theorysim"))


class Store:
    """Cells below one folder. Raises TheorysimError if it cannot be written or belongs to another format."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        label = self.folder / "store.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not label.exists():
                _write(label, json.dumps({"format": FORMAT}).encode())
            found = json.loads(label.read_text()).get("format")
        except (OSError, ValueError, AttributeError) as error:
            raise TheorysimError(
                f"the store {self.folder} cannot be used ({error}); set THEORYSIM_CACHE to a folder you can write"
            ) from None
        if found != FORMAT:
            raise TheorysimError(
                f"the store {self.folder} has format {found}, this version reads {FORMAT}; "
                "run 'theorysim cache clear' or set THEORYSIM_CACHE"
            )

    def load(self, cell: Cell, device: str) -> Trace | None:
        """The stored trace of a cell, or None where there is none or it does not check."""
        key = cell_key(cell, device)
        path = self._path(key) if key else None
        if path is None or not path.is_file():
            return None
        raw = path.read_bytes()
        digest, payload = raw[len(_MAGIC) : len(_MAGIC) + 32], raw[len(_MAGIC) + 32 :]
        if not raw.startswith(_MAGIC) or hashlib.sha256(payload).digest() != digest:
            return None
        return _unpack(cell, payload)

    def save(self, trace: Trace, device: str) -> None:
        """Keep a trace; a cell of factories whose source cannot be read (typed at a prompt) is not kept."""
        key = cell_key(trace.cell, device)
        if key is None:
            return
        payload = _pack(trace)
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, _MAGIC + hashlib.sha256(payload).digest() + payload)
        except OSError as error:
            raise TheorysimError(
                f"the store {self.folder} cannot be written ({error}); set THEORYSIM_CACHE to a folder you can write"
            ) from None

    def usage(self) -> tuple[int, int]:
        """Number of cells and their size in bytes."""
        sizes = [path.stat().st_size for path in self._cells()]
        return len(sizes), sum(sizes)

    def clear(self) -> int:
        """Delete every cell; returns how many."""
        paths = self._cells()
        for path in paths:
            path.unlink(missing_ok=True)
        return len(paths)

    def _cells(self) -> list[Path]:
        return sorted(self.folder.glob("cells/*/*.cell"))

    def _path(self, key: str) -> Path:
        return self.folder / "cells" / key[:2] / f"{key}.cell"


def cell_key(cell: Cell, device: str) -> str | None:
    """A hash of all that the result of a cell depends on; None where a factory's source cannot be read."""
    sources = [_source(spec) for spec in _specs(cell.problem) + _specs(cell.algorithm)]
    if None in sources:
        return None
    files = [_digest(path.read_bytes()) for spec in _specs(cell.problem) for path in _files(spec)]
    identity = {
        "cell": cell.to_json(),
        "device": device,
        "engine": _engine(),
        "sources": sources,
        "files": files,
        "format": FORMAT,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _specs(spec: Spec) -> list[Spec]:
    return [spec] + [inner for _, value in spec.params if isinstance(value, Spec) for inner in _specs(value)]


def _files(spec: Spec) -> list[Path]:
    """The data files a Spec names: their content is part of what the result depends on."""
    return [Path(value) for _, value in spec.params if isinstance(value, str) and os.path.isfile(value)]


def _source(spec: Spec) -> str | None:
    factory = (PROBLEMS if spec.kind == "problem" else ALGORITHMS).get(spec.name)
    return _source_of_module(str(factory.__module__))


@functools.cache
def _source_of_module(name: str) -> str | None:
    """The source text of a factory's module and of all modules of its package that it imports, directly or not.

    The engine's own modules are left to ``_engine``. None for what was typed at a prompt or stands in a script: it is likely
    to change under the same name.
    """
    if name == "__main__":
        return None
    found: dict[str, bytes] = {}
    wanted = [name]
    while wanted:
        each = wanted.pop()
        path = _file(each)
        if each not in found and path is not None and path.parent != Path(__file__).parent:
            found[each] = path.read_bytes()
            package = each if path.name == "__init__.py" else each.rpartition(".")[0]
            wanted += [used for used in _imports(package, found[each]) if used.split(".")[0] == name.split(".")[0]]
    return _digest(b"".join(found[each] for each in sorted(found))) if found else None


def _file(module: str) -> Path | None:
    """The source file of a module, found without importing it; None for what is no module, or has no source."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") and os.path.isfile(spec.origin) else None


def _imports(package: str, source: bytes) -> Iterator[str]:
    """Names that may be modules, of everything that a module in ``package`` imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            written = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(written, package) if node.level else written
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@functools.cache
def _engine() -> str:
    """The source text of the engine: an edit there makes every stored cell stale."""
    return _digest(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))) + np.__version__.encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _pack(trace: Trace) -> bytes:
    arrays: dict[str, Any] = {
        "steps": trace.steps,
        "communications": trace.communications,
        "status": trace.status,
        "runs": trace.runs,
    }
    for group in ("values", "oracle_calls", "parameters", "constants"):
        arrays |= {f"{group}/{name}": np.asarray(value) for name, value in getattr(trace, group).items()}
    arrays["environment"] = np.array(trace.environment)
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
