"""Syntax trees, one at a time."""

from __future__ import annotations

import ast
import threading

_ONE_AT_A_TIME = threading.Lock()


def parsed(source: str | bytes, mode: str = "exec") -> ast.AST:
    """``ast.parse``, which in CPython 3.11 counts the depth of its recursion for all threads together and may fail for that."""
    with _ONE_AT_A_TIME:
        return ast.parse(source, mode=mode)
