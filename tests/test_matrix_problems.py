"""Problems on matrices: values worked out by hand, an oracle in plain loops, and an audit that notices a wrong matrix."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from theorysim.analyses.certificate import certificate
from theorysim.backend import CPU, Backend
from theorysim.build import build_problem
from theorysim.findings import Finding, Verdict
from theorysim.model import Draw, Problem, TheorysimError
from theorysim.noise import Draws
from theorysim.registry import problem

Floats = np.ndarray[Any, np.dtype[np.float64]]

ROWS = 3
HESSIAN, PAIRS, POINTS = "left smoothness: least", "left smoothness on pairs", "left smoothness at points"
NOISE, NOISE_ROWS, GRADIENTS, G_F = "left noise", "sigma_row_1norm bounds", "left gradients", "G_F"
CONSTANTS, LOW = "constants are", "lambda_min"
TWO_BLOCKS = [[[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 0.0]]]  # they do not commute


def built(name: str, rows: int = ROWS, backend: Backend = CPU, seed: int = 5, **setting: Any) -> Problem:
    return build_problem(problem(name, **setting), Draws(backend, seed, np.arange(rows)))


def points(instance: Problem) -> Floats:
    return np.random.default_rng(1).standard_normal((ROWS, *instance.shape))


def part(found: Finding, label: str) -> Finding:
    return next(leaf for leaf in found.leaves() if leaf.label.startswith(label))


def failed(found: Finding) -> set[str]:
    return {leaf.label for leaf in found.leaves() if leaf.verdict is not Verdict.CONSISTENT}


def eigen(instance: Problem, capability: str) -> tuple[Floats, Floats]:
    """Eigenvalues and eigenvectors of a matrix on the left."""
    values, vectors = np.linalg.eigh(instance.capabilities[capability]())
    return values, vectors


# ------------------------------------------------------------------------------------------------ formulas
def group_norm(instance: Problem, x: Floats) -> tuple[float, Floats]:
    c, u = eigen(instance, "left_gradient")
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(len(c)):
        row = u[:, i] @ x
        value += c[i] * np.sqrt(row @ row)
        gradient += c[i] * np.outer(u[:, i], row) / np.sqrt(row @ row)
    return value, gradient


def spectral_norm(instance: Problem, x: Floats) -> tuple[float, Floats]:
    values, vectors = np.linalg.eigh(x @ x.T)
    top = vectors[:, -1]
    return float(np.sqrt(values[-1])), np.outer(top, top @ x) / np.sqrt(values[-1])


def nonconvex(instance: Problem, x: Floats) -> tuple[float, Floats]:
    a, u = eigen(instance, "left_smoothness")
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(len(a)):
        row = u[:, i] @ x
        r = row @ row
        value += 0.5 * a[i] * r / (1 + r)
        gradient += a[i] * np.outer(u[:, i], row) / (1 + r) ** 2
    return value, gradient


def by_columns(instance: Problem, x: Floats) -> tuple[float, Floats]:
    value, gradient = 0.0, np.zeros_like(x)
    for j, block in enumerate(instance.capabilities["blocks"]()):
        gradient[:, j] = block @ x[:, j]
        value += 0.5 * x[:, j] @ block @ x[:, j]
    return value, gradient


def by_hessian(instance: Problem, x: Floats) -> tuple[float, Floats]:
    hessian = instance.capabilities["hessian"]()
    return 0.5 * float(x.ravel() @ hessian @ x.ravel()), (hessian @ x.ravel()).reshape(x.shape)


CASES: list[tuple[str, dict[str, Any], Callable[[Problem, Floats], tuple[float, Floats]]]] = [
    ("rotated_group_norm", {"m": 9, "n": 4}, group_norm),
    ("rotated_group_norm", {"m": 3, "n": 5, "spectrum": "power", "rotation": "random"}, group_norm),
    ("spectral_norm_distance", {"m": 4, "n": 6}, spectral_norm),
    ("spectral_norm_distance", {"m": 6, "n": 2}, spectral_norm),
    ("matrix_nonconvex", {"m": 5, "n": 3, "rotation": "random"}, nonconvex),
    ("block_diagonal_hessian", {"m": 3, "n": 5, "rotation": "random"}, by_columns),
    ("block_diagonal_hessian", {"m": 4, "n": 3, "blocks": "generic", "smoothness": "sum"}, by_columns),
    ("block_diagonal_hessian", {"m": 4, "n": 3, "blocks": "generic", "smoothness": "sum", "rotation": "random"}, by_hessian),
    ("block_diagonal_hessian", {"m": 2, "n": 2, "blocks": TWO_BLOCKS, "smoothness": "sum"}, by_hessian),
    ("rank_one_hessian", {"m": 3, "n": 5}, by_hessian),
    ("rank_one_hessian", {"m": 5, "n": 3, "direction": "values"}, by_hessian),
]


@pytest.mark.parametrize(("name", "setting", "oracle"), CASES)
def test_value_and_gradient_are_those_of_the_formula(
    name: str, setting: dict[str, Any], oracle: Callable[[Problem, Floats], tuple[float, Floats]]
) -> None:
    instance = built(name, **setting)
    x = points(instance)
    gaps, gradients = instance.gap(x), instance.gradient(x)
    for row in range(ROWS):
        value, gradient = oracle(instance, x[row])
        assert gaps[row] == pytest.approx(value, rel=1e-11)
        np.testing.assert_allclose(gradients[row], gradient, rtol=1e-9, atol=1e-11)


# ------------------------------------------------------------------------------------------------ worked out by hand
def test_a_group_norm_by_hand() -> None:
    """Rows (3, 4, 0) and 0: f = 2 * 5, and the zero row has subgradient 0."""
    instance = built("rotated_group_norm", m=2, n=3, spectrum=[2.0, 0.5], rotation=None, start=[[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
    assert instance.gap(instance.start)[0] == 10.0
    np.testing.assert_allclose(instance.gradient(instance.start)[0], [[1.2, 1.6, 0.0], [0.0, 0.0, 0.0]], rtol=1e-15)
    assert not instance.gradient(instance.minimizer).any()
    assert instance.constants["Q_nuclearnorm"] == 2.5 and instance.constants["c_2norm"] == pytest.approx(np.sqrt(4.25))


def test_the_trace_of_the_root_of_all_gradients_is_below_the_declared_norm_of_q() -> None:
    for noise, name in ((0.0, "rotated_group_norm"), (0.5, "rotated_group_norm"), (0.0, "spectral_norm_distance")):
        instance = built(name, rows=200, m=5, n=4, noise=noise, **({"spectrum": "power"} if "group" in name else {}))
        x = np.random.default_rng(0).standard_normal((6, 200, 5, 4))
        total = sum(g @ np.swapaxes(g, 1, 2) for g in (instance.sample(x[t], Draw(t + 1)) for t in range(6)))
        trace = np.sqrt(np.maximum(np.linalg.eigvalsh(total), 0)).sum(axis=1).mean()
        bound = np.sqrt(6) * instance.constants["Q_nuclearnorm"]
        assert 0.5 * bound < trace < bound


def test_the_default_head_and_bulk_keep_the_sum_while_the_frobenius_distance_grows() -> None:
    """Card N1: sum c about 9.2 for every m, D_op about 1, D_F about sqrt(m)/2."""
    for m in (32, 64):
        constants = built("rotated_group_norm", m=m).constants
        assert constants["Q_nuclearnorm"] == pytest.approx(9.2, abs=0.4) and constants["n"] == m
        assert constants["D_op_0"] == pytest.approx(1.0, abs=0.15)
        assert constants["D_2_0"] == pytest.approx(np.sqrt(m) / 2, rel=0.1)


def test_rank_one_gradients_of_the_spectral_norm_span_more_and_more() -> None:
    instance = built("spectral_norm_distance", m=4, n=6)
    x, seen = instance.start, []
    for _ in range(4):
        gradient = instance.gradient(x)
        assert np.linalg.matrix_rank(gradient[0]) == 1
        seen.append(gradient[0])
        x = x - 0.2 * gradient
    assert np.linalg.matrix_rank(sum(g @ g.T for g in seen), tol=1e-6) >= 3
    assert not instance.gradient(np.zeros((ROWS, 4, 6))).any() and np.isnan(instance.gradient(np.nan * x)).all()


def test_a_nonconvex_function_by_hand() -> None:
    """r = (1, 4): f = (2 * 1/2 + 1 * 4/5) / 2; gradients 2 y / 4 and y / 25."""
    instance = built("matrix_nonconvex", m=2, n=2, spectrum=[2.0, 1.0], start=[[1.0, 0.0], [0.0, 2.0]], distance=1.0)
    assert instance.gap(instance.start)[0] == pytest.approx(0.9, rel=1e-15)
    np.testing.assert_allclose(instance.gradient(instance.start)[0], [[0.5, 0.0], [0.0, 0.08]], rtol=1e-15)


def test_commuting_blocks_get_the_largest_eigenvalue_in_each_direction() -> None:
    """Eigenvalues 3, 1 and 1/2, 3/2 along (1, 1) and (1, -1): L = 3, 3/2."""
    blocks = [[[2.0, 1.0], [1.0, 2.0]], [[1.0, -0.5], [-0.5, 1.0]]]
    instance = built("block_diagonal_hessian", m=2, n=2, blocks=blocks)
    np.testing.assert_allclose(instance.capabilities["left_smoothness"](), [[2.25, 0.75], [0.75, 2.25]], atol=1e-14)
    np.testing.assert_allclose(instance.capabilities["blocks"](), blocks, atol=1e-14)
    assert instance.constants["L_nuclearnorm"] == pytest.approx(4.5) and instance.constants["trace_H"] == pytest.approx(6.0)


@pytest.mark.parametrize("smoothness", ["sum", "sdp"])
def test_blocks_that_do_not_commute_get_a_sum_or_the_least_trace(smoothness: str) -> None:
    """Of two, the least trace is that of H_1 + (H_2 - H_1)_+: L - H_1 >= 0 and >= H_2 - H_1."""
    instance = built("block_diagonal_hessian", m=2, n=2, blocks=TWO_BLOCKS, smoothness=smoothness)
    left, blocks = instance.capabilities["left_smoothness"](), np.array(TWO_BLOCKS)
    assert np.linalg.eigvalsh(left - blocks).min() >= (0.0 if smoothness == "sdp" else -1e-14)
    rest = np.linalg.eigvalsh(blocks[1] - blocks[0])
    least = 4.0 + rest[rest > 0].sum()
    assert np.trace(left) == pytest.approx(least if smoothness == "sdp" else 5.0, rel=1e-7)
    with pytest.raises(TheorysimError, match="max.*commute.*sum"):
        built("block_diagonal_hessian", m=2, n=2, blocks=TWO_BLOCKS)


def test_the_least_trace_of_commuting_blocks_is_that_of_the_largest_eigenvalues() -> None:
    setting = {"m": 4, "n": 3, "rotation": "random", "scale": 1e-3}
    least, largest = (built("block_diagonal_hessian", smoothness=word, **setting).constants for word in ("sdp", "max"))
    assert least["L_nuclearnorm"] == pytest.approx(largest["L_nuclearnorm"], rel=1e-6)


def test_without_its_packages_the_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TheorysimError, match=r"cvxpy, clarabel.*theorysim\[pep\].*sum"):
        built("block_diagonal_hessian", m=2, n=2, smoothness="sdp")


def test_commuting_blocks_are_the_given_spectrum_times_factors_between_low_and_one() -> None:
    instance = built("block_diagonal_hessian", m=3, n=200, low=0.4, spectrum=[2.0, 1.0, 0.5])
    factors = np.diagonal(instance.capabilities["blocks"](), axis1=1, axis2=2) / [2.0, 1.0, 0.5]
    assert factors.min() > 0.4 and factors.max() < 1 and factors.mean() == pytest.approx(0.7, abs=0.03)
    ramp = built("block_diagonal_hessian", m=3, n=4, blocks="ramp").capabilities["blocks"]()
    np.testing.assert_allclose(ramp[2], np.diag([0.75, 0.375, 0.25]), rtol=1e-15)


def test_the_hessian_has_its_blocks_in_c_order() -> None:
    instance = built("block_diagonal_hessian", m=2, n=3, blocks="generic", smoothness="sum")
    hessian, blocks = instance.capabilities["hessian"](), instance.capabilities["blocks"]()
    for i in range(2):
        for j in range(3):
            for k in range(2):
                for other in range(3):
                    assert hessian[i * 3 + j, k * 3 + other] == (blocks[j, i, k] if j == other else 0.0)


def test_a_rank_one_hessian_by_hand() -> None:
    """U = diag(3, 4) and X = I: <U, X> = 7; ‖U‖_* = 7, L = 7 diag(3, 4)."""
    instance = built("rank_one_hessian", m=2, n=2, direction=[[3.0, 0.0], [0.0, 4.0]], start="identity")
    assert instance.gap(instance.start)[0] == 24.5
    np.testing.assert_array_equal(instance.gradient(instance.start)[0], [[21.0, 0.0], [0.0, 28.0]])
    np.testing.assert_allclose(instance.capabilities["left_smoothness"](), [[21.0, 0.0], [0.0, 28.0]], rtol=1e-15)
    expected = {"L_nuclearnorm": 49.0, "L_opnorm": 28.0, "trace_H": 25.0, "L_1norm": 49.0, "l_1norm": 49.0}
    assert {name: pytest.approx(instance.constants[name], rel=1e-14) for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("block_diagonal_hessian", {"m": 4, "n": 5, "blocks": "generic", "smoothness": "sum"}),
        ("block_diagonal_hessian", {"m": 4, "n": 3}),
        ("rank_one_hessian", {"m": 4, "n": 3}),
        ("matrix_nonconvex", {"m": 4, "n": 3, "rotation": "random"}),
    ],
)
def test_diagonal_matrices_with_the_declared_traces_bound_the_hessian(name: str, setting: dict[str, Any]) -> None:
    """L_1norm is the trace of diag(L) and l_1norm that of some I (x) diag(l)."""
    instance = built(name, **setting)
    hessian, table = instance.capabilities["hessian"](), instance.vectors["L"]
    rows = table.max(axis=1)
    if name == "rank_one_hessian":
        lengths = np.sqrt(np.diag(hessian).reshape(instance.shape).sum(axis=1))
        rows = lengths * lengths.sum()
    for diagonal in (table.ravel(), np.repeat(rows, instance.shape[1])):
        assert np.linalg.eigvalsh(np.diag(diagonal) - hessian)[0] >= -1e-12 * diagonal.max()
    assert instance.constants["L_1norm"] == pytest.approx(table.sum())
    assert instance.constants["l_1norm"] == pytest.approx(rows.sum())


def test_the_diagonal_above_a_block_is_its_row_sums_or_its_largest_eigenvalue() -> None:
    """diag(1, 1/2) has row sums 3/2 < 2; the other block has row sums 4 in each row, and eigenvalues 3, 3, 0."""
    for blocks, least in (([[[1.0, 0.0], [0.0, 0.5]]], 1.5), ([[[2.0, 1.0, -1.0], [1.0, 2.0, 1.0], [-1.0, 1.0, 2.0]]], 9.0)):
        instance = built("block_diagonal_hessian", m=len(blocks[0]), n=1, blocks=blocks)
        assert instance.constants["L_1norm"] == pytest.approx(least, rel=1e-14)


# ------------------------------------------------------------------------------------------------ the audit
def with_constants(instance: Problem, **values: Any) -> Problem:
    assert values.keys() <= instance.constants.keys()
    return replace(instance, constants={**instance.constants, **values})


def with_capability(instance: Problem, name: str, factor: Any, *constants: str) -> Problem:
    """A matrix multiplied by ``factor``, and the constants that go with it."""
    matrix = instance.capabilities[name]() * factor
    scaled = {key: instance.constants[key] * factor for key in constants}
    return replace(with_constants(instance, **scaled), capabilities={**instance.capabilities, name: lambda: matrix})


def quadratic() -> Problem:
    return built("matrix_quadratic", 8, m=4, n=6, noise=0.5, noise_law="spectrum", batch=4, rotation="random")


def groups() -> Problem:
    return built("rotated_group_norm", 8, m=4, n=6, spectrum="power", noise=0.3, batch=4)


WRONG: list[tuple[str, Callable[[], Problem], set[str]]] = [
    ("L", lambda: with_capability(quadratic(), "left_smoothness", 0.99, "L_nuclearnorm", "L_opnorm"), {HESSIAN, PAIRS, POINTS}),
    ("norm of L", lambda: with_capability(quadratic(), "left_smoothness", 1.5), {CONSTANTS}),
    ("L_nuclearnorm", lambda: with_constants(quadratic(), L_nuclearnorm=1.0), {CONSTANTS}),
    ("V", lambda: with_capability(quadratic(), "left_noise", 0.9, "V_nuclearnorm", "V_opnorm"), {NOISE}),
    ("V_opnorm", lambda: with_constants(quadratic(), V_opnorm=0.6), {CONSTANTS}),
    (
        "sigma_row_1norm",
        lambda: with_constants(quadratic(), sigma_row_1norm=0.8 * quadratic().constants["sigma_row_1norm"]),
        {NOISE_ROWS},
    ),
    ("no 1/sqrt(M)", lambda: with_constants(replace(quadratic(), vectors={}), M=16), {NOISE, NOISE_ROWS}),
    ("B", lambda: with_capability(groups(), "left_gradient", 0.99, "Q_nuclearnorm"), {GRADIENTS}),
    ("Q_nuclearnorm", lambda: with_constants(groups(), Q_nuclearnorm=2.0), {CONSTANTS}),
    ("G_F", lambda: with_constants(groups(), G_F=0.99 * groups().constants["G_F"]), {G_F}),
    ("D_op_0", lambda: with_constants(groups(), D_op_0=1.0), {CONSTANTS}),
    ("D_row_0", lambda: with_constants(groups(), D_row_0=1.0), {CONSTANTS}),
]


@pytest.mark.parametrize(("instance", "expected"), [wrong[1:] for wrong in WRONG], ids=[wrong[0] for wrong in WRONG])
def test_a_wrong_matrix_is_noticed_where_it_is(instance: Callable[[], Problem], expected: set[str]) -> None:
    seen = failed(certificate(instance()))
    assert all(any(label.startswith(start) for label in seen) for start in expected), seen
    assert all(any(label.startswith(start) for start in expected) for label in seen), seen


def test_the_average_block_is_no_left_smoothness_in_closed_form() -> None:
    """N-c: H_j = diag(1/i) j/n with n = 10; the worst block is 2n/(n + 1) times the average, and (n - 1)/(2n) above it."""
    instance = built("block_diagonal_hessian", m=5, n=10, blocks="ramp", start="signs")
    average = instance.capabilities["blocks"]().mean(axis=0)
    found = certificate(instance, left=average)
    assert {label.split(" (")[0] for label in failed(found)} == {HESSIAN + " eigenvalue of I", PAIRS, POINTS}
    assert part(found, HESSIAN).measured == pytest.approx(-0.45, rel=1e-12)
    assert part(found, PAIRS).measured == pytest.approx(20 / 11, rel=1e-3)
    assert part(found, POINTS).measured == pytest.approx(20 / 11, rel=1e-3)
    assert certificate(instance, left=20 / 11 * average).verdict is Verdict.CONSISTENT
    assert not failed(certificate(instance))


def test_an_adversary_finds_one_bad_direction_without_the_hessian() -> None:
    """In 1 of 24 directions L is half of what it must be: random pairs and points do not see it."""
    instance = built("matrix_quadratic", 1, m=24, n=30, spectrum="two_value", head=1, kappa=1e3, rotation="random")
    values, vectors = eigen(instance, "left_smoothness")
    wrong = (vectors * np.where(values > 0.5, 0.5, 1.0)) @ vectors.T
    found = certificate(replace(instance, capabilities={}), left=wrong)
    assert failed(found) == {part(found, PAIRS).label, part(found, POINTS).label}
    assert part(found, PAIRS).measured == pytest.approx(2.0, rel=1e-3)


def test_a_gradient_outside_the_range_of_left_is_noticed() -> None:
    instance = replace(built("matrix_quadratic", m=3, n=2, decay=0.0), capabilities={})
    found = certificate(instance, left=np.diag([1.0, 1.0, 0.0]))
    assert {part(found, PAIRS).label, part(found, POINTS).label} == failed(found)


def test_too_large_noise_in_one_direction_is_seen_through_the_rest() -> None:
    """V is right in every row and wrong along (1, 1, 1): the diagonal of E N N' says nothing."""
    instance = built("matrix_quadratic", 8, m=3, n=4, noise=0.5)
    share = np.full((3, 3), 1 / 3)
    turn = 0.5 * np.eye(3) @ np.linalg.cholesky(np.eye(3) + 0.3 * (share - np.eye(3) / 3))

    def sample(x: Any, draw: Draw) -> Any:
        gradient = instance.gradient(x)
        return gradient + turn @ ((instance.sample(x, draw) - gradient) / 0.5)

    assert np.allclose(np.diag(turn @ turn.T), 0.25)
    seen = failed(certificate(replace(instance, sample=sample)))
    assert len(seen) == 1 and seen.pop().startswith(NOISE)


@pytest.mark.parametrize(
    ("name", "left", "message"),
    [
        ("matrix_quadratic", np.eye(3), "must be 4 x 4"),
        ("matrix_quadratic", [[1.0, 0.0], [1.0]], "different lengths"),
        ("matrix_quadratic", np.triu(np.ones((4, 4))), "symmetric"),
        ("matrix_quadratic", np.full((4, 4), np.nan), "finite"),
        ("anisotropic_quadratic", np.eye(4), "only allowed for matrices"),
    ],
)
def test_a_left_that_is_no_matrix_for_the_problem_is_refused(name: str, left: Any, message: str) -> None:
    setting = {"m": 4, "n": 2} if name.startswith("matrix") else {"dim": 4}
    with pytest.raises(TheorysimError, match=message):
        certificate(built(name, **setting), left=left)


def test_a_left_on_another_device_is_taken(strict: Backend) -> None:
    instance = built("matrix_nonconvex", backend=strict, m=3, n=2, noise=0.2)
    assert certificate(instance).verdict is Verdict.CONSISTENT
    assert certificate(instance, left=strict.asarray(0.4 * np.eye(3))).verdict is Verdict.VIOLATED
