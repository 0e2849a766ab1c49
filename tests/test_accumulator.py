"""The carried root of a sum of gradient products, and the norms and measures of matrices, against dense linear algebra."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import scipy.linalg

import theorysim as ts
from theorysim import accumulator, backend, norms
from theorysim.backend import Backend, over_stack, to_host
from theorysim.matrix_functions import left_svd, polar, singular_values, svd
from theorysim.model import TheorysimError

STRICT = Backend("strict", array_api_strict, array_api_strict.Device("device1"))
RANDOM = np.random.default_rng(5)


def root_of(root: accumulator.Root) -> np.ndarray:
    return (root.U * root.s[:, None, :]) @ root.U.swapaxes(1, 2)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (3, 1)])
def test_the_root_and_the_direction_are_those_of_the_sum(shape: tuple[int, int]) -> None:
    gradients = RANDOM.standard_normal((6, 2, *shape))
    root = accumulator.start(gradients[0], shape[0], 0.3)
    for g in gradients:
        root = accumulator.added(root, g)
    for row in range(2):
        total = 0.09 * np.eye(shape[0]) + sum(g[row] @ g[row].T for g in gradients)
        np.testing.assert_allclose(root_of(root)[row], scipy.linalg.sqrtm(total), atol=1e-12)
        expected = np.linalg.solve(scipy.linalg.sqrtm(total) + 0.2 * np.eye(shape[0]), gradients[-1][row])
        np.testing.assert_allclose(accumulator.preconditioned(root, gradients[-1], 0.2)[row], expected, atol=1e-11)
        fourth = scipy.linalg.fractional_matrix_power(total, -0.25)
        np.testing.assert_allclose(accumulator.inverse_power(root, 0.5)[row], fourth, atol=1e-11)


def test_a_moving_average_weighs_old_and_new() -> None:
    g, h = RANDOM.standard_normal((2, 1, 3, 6))
    first = accumulator.added(accumulator.start(g, 3), g, keep=0.8, weight=0.2)
    second = accumulator.added(first, h, keep=0.8, weight=0.2)
    total = 0.16 * g[0] @ g[0].T + 0.2 * h[0] @ h[0].T
    np.testing.assert_allclose(root_of(second)[0], scipy.linalg.sqrtm(total), atol=1e-13)
    np.testing.assert_allclose(
        accumulator.preconditioned(second, h)[0], np.linalg.solve(scipy.linalg.sqrtm(total), h[0]), atol=1e-12
    )


def test_a_direction_that_an_eigendecomposition_would_cut_off_is_kept() -> None:
    """diag(1, 1e-8): V = diag(1, 1e-16) has an eigenvalue at the size of rounding, the step must still be polar(G) = I."""
    g = np.diag([1.0, 1e-8])[None]
    root = accumulator.added(accumulator.start(g, 2), g)
    np.testing.assert_allclose(accumulator.preconditioned(root, g)[0], np.eye(2), atol=1e-12)


def test_null_directions_stay_null_and_nothing_is_divided_by_zero() -> None:
    g = np.zeros((2, 3, 4))
    g[0] = np.outer([1.0, 2.0, 0.0], RANDOM.standard_normal(4))
    step = accumulator.preconditioned(accumulator.added(accumulator.start(g, 3), g), g)
    assert np.isfinite(step).all() and not step[1].any() and np.linalg.matrix_rank(step[0]) == 1
    np.testing.assert_allclose(np.linalg.norm(step[0], 2), 1.0, rtol=1e-14)


def test_a_matrix_that_is_not_finite_spoils_only_itself() -> None:
    a = RANDOM.standard_normal((3, 4, 5))
    a[1, 2, 3] = np.nan
    alone = svd(a[:1])
    for one, three in zip(alone, svd(a), strict=True):
        np.testing.assert_array_equal(one[0], three[0])
    assert np.isnan(svd(a)[1][1]).all() and np.isnan(polar(a)[1]).all() and np.isfinite(polar(a)[[0, 2]]).all()
    assert np.isnan(singular_values(a)[1]).all()
    for one, three in zip(left_svd(a[:1]), left_svd(a), strict=True):
        np.testing.assert_array_equal(one[0], three[0])
    assert np.isnan(left_svd(a)[1][1]).all()


def test_a_stack_split_over_threads_has_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    a = RANDOM.standard_normal((7, 6, 9))
    whole = svd(a)
    monkeypatch.setattr(backend, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(backend, "cores", lambda: 3)
    for one, parts in zip(whole, svd(a), strict=True):
        np.testing.assert_array_equal(one, parts)
    assert len(over_stack(lambda part: (part,), a)[0]) == 7


def test_norms_against_numpy() -> None:
    x = RANDOM.standard_normal((3, 4, 6))
    expected = {
        "1": np.abs(x).sum(axis=(1, 2)),
        "2": np.array([np.linalg.norm(each) for each in x]),
        "inf": np.abs(x).max(axis=(1, 2)),
        "row": np.array([max(np.linalg.norm(row) for row in each) for each in x]),
        "op": np.array([np.linalg.norm(each, 2) for each in x]),
        "nuclear": np.array([np.linalg.norm(each, "nuc") for each in x]),
    }
    assert set(expected) == set(norms.NORMS)
    for order, value in expected.items():
        np.testing.assert_allclose(norms.norm(x, order), value, rtol=1e-13)
        np.testing.assert_allclose(to_host(norms.norm(STRICT.asarray(x), order)), value, rtol=1e-13)
    with pytest.raises(TheorysimError, match="one of matrices"):
        norms.norm(x[:, 0], "op")


# ------------------------------------------------------------------------------------------------ measures
def gradients(m: int, n: int, steps: int) -> np.ndarray:
    """What a frozen method hears on a noisy quadratic, entry by entry: ``(steps, m, n)``; lr = 0 keeps the iterate."""
    quadratic = ts.problem("matrix_quadratic", m=m, n=n, noise=0.5, rotation="random")
    names = [f"coordinate:{k}" for k in range(m * n)]
    trace = ts.run(quadratic, ts.algorithm("sgd", lr=1.0), steps, measure=names, record="all", seed=4)
    path = np.stack([trace[name][0] for name in names], axis=-1).reshape(-1, m, n)
    return path[:-1] - path[1:]


@pytest.mark.parametrize(("m", "n"), [(3, 5), (5, 2)])
def test_measures_of_matrices_against_sums_of_the_gradients(m: int, n: int) -> None:
    seen, steps = gradients(m, n, 6), 6
    quadratic = ts.problem("matrix_quadratic", m=m, n=n, noise=0.5, rotation="random")
    left, right = (sum(g @ g.T for g in seen), sum(g.T @ g for g in seen))
    full = sum(np.outer(g, g) for g in seen)

    def trace_of_power(matrix: np.ndarray, power: float) -> float:
        return float((np.maximum(np.linalg.eigvalsh(matrix), 0) ** power).sum())

    squares = sum(g * g for g in seen)
    shifted = [0.2 * np.eye(len(each)) + each for each in (left, right)]
    last = np.linalg.svd(seen[-1], compute_uv=False)
    expected = {
        "adaptive_norm:left": trace_of_power(left, 0.5),
        "adaptive_norm:left,0.3": trace_of_power(left + 0.09 * np.eye(m), 0.5),
        "adaptive_norm:right": trace_of_power(right, 0.5),
        "adaptive_norm:full": trace_of_power(full, 0.5),
        "adaptive_norm:entries": np.sqrt(squares).sum(),
        "adaptive_norm:rows": np.sqrt(squares.sum(axis=1)).sum(),
        "adaptive_norm:columns": np.sqrt(squares.sum(axis=0)).sum(),
        "adaptive_norm:scalar": np.sqrt(squares.sum()),
        "log_determinant:0.5": np.linalg.slogdet(np.eye(m) + left / 0.25)[1],
        "fourth_roots:0.2": trace_of_power(shifted[0], 0.25) * trace_of_power(shifted[1], 0.25),
        "stable_rank": (last**2).sum() / last[0] ** 2,
        "nuclear_rank": last.sum() / last[0],
    }
    trace = ts.run(quadratic, ts.algorithm("sgd", lr=1.0), steps, measure=list(expected), record="all", seed=4)
    for name, value in expected.items():
        np.testing.assert_allclose(trace[name][0, -1], value, rtol=1e-7, err_msg=name)
    assert trace["stable_rank"][0, 0] == 0


def test_measures_of_matrices_refuse_what_they_do_not_know() -> None:
    quadratic, method = ts.problem("matrix_quadratic"), ts.algorithm("asgo")
    with pytest.raises(TheorysimError, match="structure"):
        ts.run(quadratic, method, 2, measure="adaptive_norm:diagonal")
    for name in ("adaptive_norm:left,big", "log_determinant:q", "fourth_roots:-1", "log_determinant:0"):
        with pytest.raises(TheorysimError, match=name.partition(":")[0]):
            ts.run(quadratic, method, 2, measure=name)
    with pytest.raises(TheorysimError, match="order"):
        ts.run(quadratic, method, 2, measure="distance:spectral")
    with pytest.raises(TheorysimError, match="one of matrices"):
        ts.run(ts.problem("anisotropic_quadratic"), ts.algorithm("adagrad"), 2, measure="max_distance:op")
    with pytest.raises(TheorysimError, match="asgo needs matrices"):
        ts.run(ts.problem("anisotropic_quadratic"), ts.algorithm("asgo", lr=1.0), 2)
