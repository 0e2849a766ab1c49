"""Logistic regression: the loss without cancellation, the minimiser, the constants of the data, and files."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize
from sklearn.datasets import dump_svmlight_file, load_breast_cancer, load_digits

from theorysim.backend import CPU
from theorysim.build import build_problem
from theorysim.model import Draw, Problem, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.problems._datasets import CENSUS_GROUPS, load, source
from theorysim.problems._logistic import chance_of_error, divergence
from theorysim.registry import problem


def built(rows: int = 2, seed: int = 0, **setting: Any) -> Problem:
    return build_problem(problem("logistic_regression", **setting), Draws(CPU, seed, np.arange(rows)))


def data(name: str, samples: int | None = None, positive: Any = None, intercept: bool = False, seed: int = 0) -> Any:
    return load(source(name, samples, positive, intercept, seed))


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "data.svm"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


# ------------------------------------------------------------------------------------------------ the loss
def test_the_divergence_is_exact_to_rounding_from_tiny_to_huge_arguments() -> None:
    mpmath.mp.dps = 700
    sizes = [1e-300, 1e-150, 1e-12, 1e-5, 0.00999, 0.01001, 0.3, 1.0, 4.0, 30.0, 690.0, 800.0, 1e6]
    for r in (0.5, 0.499, 0.2, 1e-3, 1e-9, 1e-17, 1e-250):
        t = np.array([sign * size for size in sizes for sign in (-1, 1)])
        got = divergence(t, np.full_like(t, r))
        for value, argument in zip(got, t, strict=True):
            exact = mpmath.log(1 - mpmath.mpf(r) + mpmath.mpf(r) * mpmath.exp(mpmath.mpf(argument))) - mpmath.mpf(r) * argument
            if abs(exact) > 1e-300:
                assert abs(value / exact - 1) < 2e-13, (r, argument, value, exact)


def test_the_chance_of_error_neither_overflows_nor_loses_digits() -> None:
    with np.errstate(all="raise", under="ignore"):
        margins = np.array([-1e4, -40.0, -1.0, 0.0, 2.0, 40.0, 700.0, 1e4])
        chance = chance_of_error(margins)
    assert chance[[0, 3, 7]].tolist() == [1.0, 0.5, 0.0]
    np.testing.assert_allclose(
        chance[[2, 4, 5, 6]], [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(2)), np.exp(-40), np.exp(-700)], rtol=1e-14
    )


def exact_gap(instance: Problem, features: Any, labels: Any, ridge: float, x: Any) -> tuple[float, Any]:
    """f(x) - f* by subtraction in 80 digits, w* refined by Newton steps in that precision; and that w*."""
    mpmath.mp.dps = 80
    signed = mpmath.matrix((features * labels[:, None]).tolist())
    n, d = features.shape

    def value(w: Any) -> Any:
        return mpmath.fsum(mpmath.log1p(mpmath.exp(-m)) for m in signed * w) / n + ridge / mpmath.mpf(2) * mpmath.fsum(
            c**2 for c in w
        )

    best = mpmath.matrix(np.asarray(instance.minimizer).tolist())
    for _ in range(4):
        chance = [1 / (1 + mpmath.exp(m)) for m in signed * best]
        gradient = ridge * best - signed.T * mpmath.matrix(chance) / n
        hessian = ridge * mpmath.eye(d) + signed.T * mpmath.diag([c * (1 - c) for c in chance]) * signed / n
        best = best - mpmath.lu_solve(hessian, gradient)
    return value(mpmath.matrix(x.tolist())) - value(best), best


def test_gaps_down_to_1e_minus_14_and_far_away_agree_with_80_digits(file: Callable[[str], str]) -> None:
    rng = np.random.default_rng(4)
    features = rng.normal(size=(14, 3))
    text = "".join(f"{1 if rng.uniform() < 0.6 else 2} 1:{a!r} 2:{b!r} 3:{c!r}\n" for a, b, c in features.tolist())
    instance, (features, labels) = built(rows=1, data=file(text), ridge=0.02), data(file(text))
    direction = np.random.default_rng(0).normal(size=features.shape[1])
    gaps = []
    for size in (2e-7, 1e-4, 1.0, 100.0):
        x = instance.minimizer + size * direction
        exact, best = exact_gap(instance, features, labels, 0.02, x)
        gaps.append(float(instance.gap(x[None])[0]))
        assert gaps[-1] == pytest.approx(float(exact), rel=1e-6 if size < 1e-6 else 1e-9, abs=0.0)
    assert 1e-15 < gaps[0] < 1e-13
    assert float(max(abs(b - w) for b, w in zip(best, instance.minimizer, strict=True))) < 1e-13


def test_the_minimiser_is_that_of_another_method() -> None:
    instance, (features, labels) = built(data="breast_cancer", ridge=0.01, intercept=True), data("breast_cancer", intercept=True)

    def value(w: Any) -> Any:
        return np.logaddexp(0, -labels * (features @ w)).mean() + 0.005 * w @ w

    other = scipy_minimize(value, np.zeros(31), method="BFGS", options={"gtol": 1e-9}).x
    np.testing.assert_allclose(instance.minimizer, other, atol=1e-5)
    assert instance.constants["Delta_0"][0] == pytest.approx(value(np.zeros(31)) - value(other), rel=1e-9)
    assert instance.constants["D_inf_0"][1] == np.abs(instance.minimizer).max()
    x = np.random.default_rng(1).normal(size=(2, 31))
    slope = -(features * (labels / (1 + np.exp(labels * (features @ x[1]))))[:, None]).mean(axis=0) + 0.01 * x[1]
    np.testing.assert_allclose(instance.gradient(x)[1], slope, rtol=1e-12, atol=1e-15)


def test_without_ridge_the_minimiser_is_the_one_nearest_to_zero() -> None:
    instance = built(ridge=0.0)
    assert np.abs(instance.gradient(instance.minimizer[None])).max() < 1e-15
    ends = np.cumsum(CENSUS_GROUPS)
    sums = [group.sum() for group in np.split(instance.minimizer, ends[:-1])]
    np.testing.assert_allclose(sums, sums[0], atol=1e-10)  # moving weight from one group to another changes no margin


@pytest.mark.parametrize("setting", [{"data": "digits", "samples": 200}, {"samples": 40}, {"seed": 7}])
def test_separable_classes_without_ridge_have_no_minimiser(setting: dict[str, Any]) -> None:
    with pytest.raises(TheorysimError, match=r"separates the two classes.*ridge"):
        built(**setting, ridge=0.0)


def test_classes_that_touch_are_separable_too_and_classes_that_overlap_are_not(file: Callable[[str], str]) -> None:
    with pytest.raises(TheorysimError, match="separates"):
        built(data=file("+1 1:1\n-1 2:1\n+1 2:1\n"), ridge=0.0)  # only the first sample is off the hyperplane
    with pytest.raises(TheorysimError, match="separates"):
        built(data=file("+1 1:2 2:-1\n-1 1:1 2:-2\n"), ridge=0.0)  # by w = (1, 1), and by no single feature
    instance = built(data=file("+1 1:1\n-1 1:1\n+1 2:1\n-1 2:1\n+1 1:1\n"), ridge=0.0)
    np.testing.assert_allclose(instance.minimizer, [np.log(2), 0], atol=1e-12)


# ------------------------------------------------------------------------------------------------ the constants
@pytest.mark.parametrize(("seed", "ridge"), [(0, 0.0), (7, 1e-3)])
def test_constants_of_the_census_are_those_of_14_one_hot_groups(seed: int, ridge: float) -> None:
    instance = built(seed=seed, ridge=ridge)
    c, hessian, smooth = instance.constants, instance.capabilities["hessian"](), instance.vectors["L"]
    features, labels = data("census", seed=seed)
    assert (c["samples"], c["dim"]) == features.shape == (4781, 123)
    assert c["L_1norm"] == pytest.approx(49 + 123 * ridge, rel=1e-12)
    assert c["trace_H"] == pytest.approx(3.5 + 123 * ridge, rel=1e-12) and c["mu"] == ridge
    assert np.linalg.eigvalsh(np.diag(smooth) - hessian)[0] >= -1e-12
    assert np.linalg.eigvalsh(np.diag(np.diag(hessian)) - hessian)[0] < -0.1
    np.testing.assert_allclose(smooth, (features * features.sum(axis=1)[:, None]).sum(axis=0) / (4 * 4781) + ridge, rtol=1e-12)
    assert 1.19 < c["lambda_max"] < 1.25 and 2.4 < c["L_infnorm"] < 2.65
    assert ridge == 0 or (0.9 < c["D_inf_0"][0] < 1.5 and 3.5 < c["D_2_0"][0] < 5.1)
    assert set(np.unique(labels)) == {-1.0, 1.0}


def test_census_categories_follow_their_law() -> None:
    features, _ = data("census", 20_000, seed=3)
    for block, size in zip(np.split(features, np.cumsum(CENSUS_GROUPS)[:-1], axis=1), CENSUS_GROUPS, strict=True):
        assert block.shape[1] == size and (block.sum(axis=1) == 1).all()
        law = np.arange(1, size + 1) ** -1.3
        law /= law.sum()
        assert np.abs((block.mean(axis=0) - law) / np.sqrt(law * (1 - law) / 20_000)).max() < 4.5
    assert not np.array_equal(features, data("census", 20_000, seed=4)[0])


def test_signed_features_have_the_smaller_of_two_valid_L(file: Callable[[str], str]) -> None:
    instance = built(data=file("+1 1:1 2:-2\n-1 1:3 2:1\n+1 1:-1 2:0.5\n-1 1:-1 2:4\n"), ridge=0.1)
    x = np.array([[1.0, -2.0], [3.0, 1.0], [-1.0, 0.5], [-1.0, 4.0]])
    hessian = x.T @ x / 16 + 0.1 * np.eye(2)
    np.testing.assert_allclose(instance.vectors["L"], np.abs(hessian).sum(axis=1), rtol=1e-14)
    assert instance.constants["L_1norm"] < (np.abs(x) * np.abs(x).sum(axis=1)[:, None]).sum() / 16 + 0.2
    assert instance.constants["lambda_max"] == pytest.approx(np.linalg.eigvalsh(hessian)[1])


def test_a_minibatch_is_the_mean_over_the_drawn_samples() -> None:
    instance, (features, labels) = built(rows=3, seed=5, data="digits", ridge=0.1, batch=4), data("digits")
    x = np.random.default_rng(2).normal(size=(3, 64))
    got = instance.sample(x, Draw(9, 1))
    chosen = Draws(CPU, 5, np.arange(3)).integers(Stream.BATCH, Draw(9, 1), (4,), len(labels))
    for row in range(3):
        each = [-labels[i] * features[i] / (1 + np.exp(labels[i] * features[i] @ x[row])) for i in chosen[row]]
        np.testing.assert_allclose(got[row], np.mean(each, axis=0) + 0.1 * x[row], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(instance.vectors["sigma"], np.sqrt((features**2).mean(axis=0)), rtol=1e-13)
    assert instance.constants["M"] == 4 and built(data="digits", ridge=0.1).constants["M"] == 1797


# ------------------------------------------------------------------------------------------------ the data
def test_built_in_sets_are_those_of_scikit_learn_scaled_to_the_unit_interval() -> None:
    features, labels = data("breast_cancer")
    raw = load_breast_cancer()
    assert features.min() == 0 and features.max() == 1 and np.array_equal(labels, 2.0 * raw.target - 1)
    assert np.corrcoef(features[:, 7], raw.data[:, 7])[0, 1] == pytest.approx(1)
    features, labels = data("digits", intercept=True)
    pixels, digits = load_digits(return_X_y=True)
    assert np.array_equal(features[:, :-1] * 16, pixels) and (features[:, -1] == 1).all()
    assert np.array_equal(labels, np.where(digits % 2 == 1, 1.0, -1.0))
    assert np.array_equal(data("digits", 50, [3, 7])[1], np.where(np.isin(digits[:50], [3, 7]), 1.0, -1.0))
    assert np.array_equal(data("breast_cancer", positive=0)[1], 1.0 - 2 * raw.target)
    with pytest.raises(ValueError, match="read-only"):
        features[0, 0] = 1.0


def test_a_libsvm_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 7)) * (rng.uniform(size=(40, 7)) < 0.5)
    labels = np.where(rng.uniform(size=40) < 0.4, 2, 5)
    path = tmp_path / "some.svm"
    dump_svmlight_file(features, labels, str(path), zero_based=False)
    got, signs = data(str(path))
    np.testing.assert_allclose(got, features, rtol=1e-15)
    assert np.array_equal(signs, np.where(labels == 5, 1.0, -1.0))
    assert built(data=str(path), ridge=0.1, batch=3).constants["dim"] == 7
    before = data(str(path))[0]
    path.write_text("1 1:9\n-1 1:3\n")
    os.utime(path, ns=(1, 1))
    assert not np.array_equal(data(str(path))[0], before)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1:2\n# a comment\n\nfoo 1:3\n", "line 4: the label 'foo'"),
        ("1 1:2\n-1 2:a\n1 3:b\n", "line 2: '2:a' is not index:value"),
        ("1 1:2\n-1 7\n", "line 2: '7' is not index:value"),
        ("1 1:2\n-1 3:2 2:1\n", "line 2: index 2 comes after 3"),
        ("1 1:2\n-1 3:2 3:1\n", "line 2: index 3 comes after 3"),
        ("1 1:2\n1 -1:2\n", "line 2: '-1:2'"),
        ("1 1:2\n-1 1:nan\n", "line 2: '1:nan'"),
        ("1 1:2\n-1 1:1\ninf 1:1\n", "line 3: the label 'inf'"),
        ("1 1:2\n-1 99999999999999999999:2\n", "is no LIBSVM file"),
        ("1 1:2\n-1 2000000000:2\n", "too many for a dense array"),
        ("", "holds no samples"),
        ("# nothing\n\n", "holds no samples"),
        ("1 1:2\n2 1:1\n3 1:1\n", r"3 classes \(1, 2, 3\), not two; say by positive"),
        ("1 1:2\n1 1:1\n", r"1 classes \(1\), not two"),
    ],
)
def test_a_file_that_is_no_two_class_data_set_is_refused_with_the_line(
    file: Callable[[str], str], text: str, message: str
) -> None:
    with pytest.raises(TheorysimError, match=message):
        built(data=file(text), ridge=0.1)


def test_the_bad_line_of_a_compressed_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "data.svm.gz"
    with gzip.open(path, "wt") as out:
        out.write("1 1:2\n-1 1:x\n")
    with pytest.raises(TheorysimError, match=r"data.svm.gz, line 2: '1:x'"):
        built(data=str(path), ridge=0.1)


def test_unreadable_data_and_impossible_labels_are_refused(tmp_path: Path, file: Callable[[str], str]) -> None:
    for path in (str(tmp_path / "absent.svm"), str(tmp_path), "censsus", "a\0b", ""):
        with pytest.raises(TheorysimError, match=r"neither one of census, breast_cancer, digits nor a readable LIBSVM file"):
            built(data=path)
    with pytest.raises(TheorysimError, match="not text"):
        built(data=3)
    many = file("1 1:2\n2 1:1\n3 1:1\n")
    assert data(many, positive=[1, 3])[1].tolist() == [1.0, -1.0, 1.0]
    with pytest.raises(TheorysimError, match="one class; its labels are 1, 2, 3"):
        built(data=many, positive=4)
    with pytest.raises(TheorysimError, match="at most 3"):
        built(data=many, positive=1, samples=4)
