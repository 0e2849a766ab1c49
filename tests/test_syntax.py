"""Syntax trees from many threads at once."""

from __future__ import annotations

import ast
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from theorysim import syntax


def test_trees_are_made_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most, count = [0], [0], threading.Lock()

    def watched(source: str, mode: str) -> ast.AST:
        with count:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        threading.Event().wait(0.002)
        with count:
            inside[0] -= 1
        return ast.Module([], [])

    monkeypatch.setattr(syntax.ast, "parse", watched)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(syntax.parsed, ["x"] * 24))
    assert most[0] == 1


def test_many_threads_get_their_trees() -> None:
    text = "+".join(f"({name}*2)" for name in "abcdefgh" * 20)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            trees = list(threads.map(lambda _: ast.dump(syntax.parsed(text, "eval")), range(64)))
    finally:
        sys.setswitchinterval(before)
    assert set(trees) == {ast.dump(ast.parse(text, mode="eval"))}
