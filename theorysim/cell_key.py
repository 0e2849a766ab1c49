"""A hash of everything that the result of a cell depends on: the name under which it is kept.

That is the cell, the device, the content of the data files it names, and source text: of the engine, and of its factories
and measures with what they import. An edit of any of these makes the stored cells stale.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

from theorysim.measures import MEASURES
from theorysim.model import Cell, Spec
from theorysim.registry import ALGORITHMS, PROBLEMS
from theorysim.syntax import parsed

FORMAT = 1  # of the files of a store

_PACKAGE = Path(__file__).parent
_CONTENT = {"algorithms", "problems", "analyses", "paper_checks"}  # a cell counts those files of it that it uses
_AFTERWARDS = {"report", "mutation", "calibration"}  # look at results only, and so does the command line
_VERSIONS = ("numpy", "scipy", "numba")


def cell_key(cell: Cell, device: str) -> str | None:
    """The key of a cell's result, 64 hexadecimal digits.

    None where the source of a factory or a measure, or a data file, cannot be read: then the result cannot be told from
    that of another version.
    """
    try:
        files = [_digest(path.read_bytes()) for spec in _specs(cell.problem) for path in _files(spec)]
    except OSError:
        return None
    sources = [_source_of_module(module) for module in _modules(cell)]
    if None in sources:
        return None
    identity = {
        "cell": cell.to_json(),
        "device": device,
        "engine": _engine(),
        "sources": sources,
        "files": files,
        "format": FORMAT,
    }
    return _digest(json.dumps(identity, sort_keys=True).encode())


def _modules(cell: Cell) -> list[str]:
    """Where the factories and measures of a cell are defined; expectations have measures of the engine's own."""
    names = [name.partition(":")[0] for name in cell.measure]
    factories = [(PROBLEMS if spec.kind == "problem" else ALGORITHMS).get(spec.name) for spec in _both(cell)]
    factories += [MEASURES[name] for name in names if name in MEASURES]
    return [str(factory.__module__) for factory in factories]


def _both(cell: Cell) -> list[Spec]:
    return _specs(cell.problem) + _specs(cell.algorithm)


def _specs(spec: Spec) -> list[Spec]:
    return [spec] + [inner for _, value in spec.params if isinstance(value, Spec) for inner in _specs(value)]


def _files(spec: Spec) -> list[Path]:
    """The data files a Spec names: their content is part of what the result depends on."""
    return [Path(value) for _, value in spec.params if isinstance(value, str) and os.path.isfile(value)]


@functools.cache
def _source_of_module(name: str) -> str | None:
    """The source text of a module and of all modules of its package that it imports, directly or not.

    The engine's own modules are left to ``_engine``. None for what was typed at a prompt or stands in a script: it is likely
    to change under the same name.
    """
    if name == "__main__":
        return None
    found: dict[str, bytes] = {}
    wanted, seen, engine = [name], set[str](), set(_engine_files())
    while wanted:
        each = wanted.pop()
        path = None if each in seen else _file(each)
        seen.add(each)
        if path is not None:
            found[each] = b"" if path in engine else path.read_bytes()
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
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            written = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(written, package) if node.level else written
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@functools.cache
def _engine() -> str:
    """The source text of the engine and the versions of the packages it computes with."""
    versions = [f"{name} {found.version}" for name in _VERSIONS for found in importlib.metadata.distributions(name=name)]
    sources = [f"{path.relative_to(_PACKAGE).as_posix()} {_digest(path.read_bytes())}" for path in _engine_files()]
    return _digest("\n".join(versions + sources).encode())


def _engine_files() -> list[Path]:
    """All of the package but content and what looks at results: a new file counts unless it is known not to matter."""
    return sorted(path for path in _PACKAGE.rglob("*.py") if _matters(path.relative_to(_PACKAGE).parts[0]))


def _matters(name: str) -> bool:
    return name not in _CONTENT | _AFTERWARDS and not name.startswith("cli")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
