"""The share of a Hessian in its blocks: against explicit sums, against rotations, and on gradients that are none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from theorysim.analyses.block_structure import block_shares, block_structure, measured_hessian
from theorysim.backend import CPU, Backend
from theorysim.build import build_problem
from theorysim.findings import Verdict
from theorysim.model import Problem, TheorysimError
from theorysim.noise import Draws
from theorysim.registry import problem


def built(name: str, rows: int = 6, backend: Backend = CPU, **setting: Any) -> Problem:
    return build_problem(problem(name, **setting), Draws(backend, 0, np.arange(rows)))


def orthogonal(size: int, random: np.random.Generator) -> Any:
    q, r = np.linalg.qr(random.normal(size=(size, size)))
    return q * np.sign(np.diag(r))


def test_shares_are_those_of_explicit_sums() -> None:
    random = np.random.default_rng(0)
    h = random.normal(size=(12, 12))
    h += h.T
    inside = {"columns": 0.0, "rows": 0.0}
    sizes = dict(inside)
    for a in range(12):
        for b in range(12):
            if a % 3 == b % 3:
                inside["columns"] += h[a, b] ** 2
                sizes["columns"] += abs(h[a, b])
            if a // 3 == b // 3:
                inside["rows"] += h[a, b] ** 2
                sizes["rows"] += abs(h[a, b])
    for blocks, even in (("columns", 4 / 12), ("rows", 3 / 12)):
        found = block_shares(h, (4, 3), blocks)
        assert found.share == pytest.approx(inside[blocks] / (h**2).sum())
        assert found.absolute == pytest.approx(sizes[blocks] / np.abs(h).sum()) and found.even == even


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_the_share_of_chance_is_the_mean_over_rotations(shift: float) -> None:
    random = np.random.default_rng(1)
    h = np.diag(random.normal(size=8)) + shift * np.eye(8)
    drawn = [block_shares(q @ h @ q.T, (4, 2), "columns") for q in (orthogonal(8, random) for _ in range(1500))]
    shares = np.array([each.share for each in drawn])
    assert abs(shares.mean() - drawn[0].rotated) < 4 * shares.std() / np.sqrt(len(shares))
    assert block_shares(np.eye(8), (4, 2), "rows").rotated == pytest.approx(1.0)


@pytest.mark.parametrize("rows", [2, 5, 64])
def test_the_measured_hessian_is_the_declared_one(rows: int, strict: Backend) -> None:
    setting = {"m": 3, "n": 4, "right": [1.0, 0.3, 2.0, 0.1], "turned": "both"}
    instance = built("matrix_quadratic", rows, **setting)
    point = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(measured_hessian(instance, point), instance.capabilities["hessian"](), atol=1e-10)
    elsewhere = built("matrix_quadratic", rows, strict, **setting)
    np.testing.assert_allclose(measured_hessian(elsewhere, point), instance.capabilities["hessian"](), atol=1e-10)


def test_of_softmax_regression_it_is_the_closed_form_at_zero_and_below_the_bound_elsewhere() -> None:
    instance = built("digits_regression", 30, samples=40, pool=4, ridge=0.1)
    moment = 2 * (instance.capabilities["left_smoothness"]() - 0.1 * np.eye(4))
    centred = np.eye(10) - 1 / 10
    at_zero = measured_hessian(instance, np.zeros((4, 10)))
    np.testing.assert_allclose(at_zero, np.kron(moment, centred / 10) + 0.1 * np.eye(40), atol=1e-9)
    point = np.random.default_rng(0).normal(size=(4, 10))
    least = np.linalg.eigvalsh(instance.capabilities["hessian"]() - measured_hessian(instance, point))[0]
    assert least > -1e-9


def test_columns_of_least_squares_are_blocks_and_its_rows_are_not() -> None:
    instance = built("digits_regression", 40, loss="squared", samples=100, pool=2, ridge=0.01)
    columns, rows = (block_structure(instance, instance.minimizer, blocks=blocks, label="x") for blocks in ("columns", "rows"))
    assert columns.verdict is Verdict.CONSISTENT and rows.verdict is Verdict.VIOLATED
    assert columns.parts[0].details["share"] == pytest.approx(1.0, abs=1e-12) and rows.parts[0].measured < 1.5
    turn = orthogonal(160, np.random.default_rng(0))
    turned = block_structure(instance, instance.minimizer, turn=turn, label="x")
    assert turned.verdict is Verdict.VIOLATED and turned.parts[0].measured == pytest.approx(1.0, abs=0.1)
    assert len(columns.panels[0].series[0].x) == 10


@pytest.mark.parametrize("fault", ["lopsided", "nan"])
def test_a_gradient_that_is_none_is_violated(fault: str) -> None:
    instance = built("matrix_quadratic", m=2, n=3)

    def gradient(x: Any) -> Any:
        return np.roll(x, 1, axis=2) * [3.0, 1.0, 2.0] if fault == "lopsided" else x * np.nan

    found = block_structure(replace(instance, gradient=gradient), np.ones((2, 3)), low=0.0, label="x")
    assert found.verdict is Verdict.VIOLATED


def test_impossible_requests_are_refused() -> None:
    instance = built("matrix_quadratic", m=2, n=3)
    with pytest.raises(TheorysimError, match="blocks"):
        block_structure(instance, np.ones((2, 3)), blocks="diagonals", label="x")
    with pytest.raises(TheorysimError, match=r"shape \(3, 2\)"):
        block_structure(instance, np.ones((3, 2)), label="x")
    with pytest.raises(TheorysimError, match="at least 2 runs"):
        block_structure(built("matrix_quadratic", 1, m=2, n=3), np.ones((2, 3)), label="x")
    with pytest.raises(TheorysimError, match="matrices"):
        block_structure(built("anisotropic_quadratic", dim=3), np.ones(3), label="x")
