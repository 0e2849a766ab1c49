"""Roots and polar factors against 40-digit arithmetic and SciPy, on generic spectra and shapes; and hard cases."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.linalg

from theorysim.backend import to_host
from theorysim.matrix_functions import eigh, inverse_root_by_eigh, polar
from theorysim.matrix_iterations import (
    MUON,
    POLAR_EXPRESS,
    checked_inverse_root,
    checked_polar,
    coupled,
    inverse_root,
    muon_polar,
    polar_by_quintics,
    polar_express_inverse_root,
)
from theorysim.model import TheorysimError

ROOT_ITERATIONS = [("coupled_newton", 2), ("coupled_newton", 4), ("coupled_newton", 3), ("newton_schulz", 2)]
CONDITIONS = (1.0, 1e2, 1e4, 1e6, 1e8, 1e10, 1e12)
EPS = np.finfo(float).eps


def basis(k, rng):
    q, r = np.linalg.qr(rng.standard_normal((k, k)))
    return q * np.sign(np.diag(r))


def with_spectrum(values, rng):
    q = basis(len(values), rng)
    a = (q * values) @ q.T
    return (a + a.T) / 2


def stack(k=12, conditions=CONDITIONS, scale=3.7, seed=0):
    """One matrix per condition number, log-spaced eigenvalues in a random basis each."""
    rng = np.random.default_rng(seed)
    return np.stack([with_spectrum(scale * np.logspace(0, -np.log10(c), k), rng) for c in conditions])


def forty_digits(a, p):
    """a^{-1/p} of the very numbers in ``a``."""
    with mpmath.workdps(40):
        values, q = mpmath.eigsy(mpmath.matrix(a.tolist()))
        powers = mpmath.diag([value ** (-mpmath.mpf(1) / p) for value in values])
        return np.array((q * powers * q.T).tolist(), dtype=float)


def off(x, y):
    """Largest relative error of a matrix of a stack, in Frobenius norm, one per matrix."""
    return np.linalg.norm(x - y, axis=(1, 2)) / np.linalg.norm(y, axis=(1, 2))


# ------------------------------------------------------------------------------------------------ inverse roots
@pytest.mark.parametrize(("method", "p"), [("eigh", 2), ("eigh", 4), ("eigh", 3), *ROOT_ITERATIONS])
def test_inverse_roots_against_forty_digits(method, p):
    a = stack()
    expected = np.stack([forty_digits(each, p) for each in a])
    # An entry of a is known to EPS |a|, its smallest eigenvalue to EPS cond: no method can do better than that by more than luck.
    assert (off(inverse_root(a, p, method), expected) <= 5 * EPS * (1 + np.array(CONDITIONS))).all()
    assert (off(checked_inverse_root(a, p, method).value, expected) <= 5 * EPS * (1 + np.array(CONDITIONS))).all()


@pytest.mark.parametrize(("method", "p"), [("eigh", 2), ("eigh", 4), *ROOT_ITERATIONS, ("polar_express", 2)])
def test_inverse_roots_against_scipy(method, p):
    a = stack(17, (3.0, 50.0, 1e3), seed=1)
    expected = np.stack([np.linalg.inv(scipy.linalg.fractional_matrix_power(each, 1 / p)) for each in a])
    np.testing.assert_allclose(inverse_root(a, p, method), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("method", "p"), ROOT_ITERATIONS)
def test_a_ridge_is_added_to_the_matrix(method, p):
    a = stack(8, (10.0, 1e9))
    ridge = np.array([0.3, 1e-3])[:, None, None]
    expected = np.stack([forty_digits(each + r * np.eye(8), p) for each, r in zip(a, ridge[:, 0, 0], strict=True)])
    for found in (
        inverse_root(a, p, method, ridge),
        inverse_root(a, p, "eigh", ridge),
        checked_inverse_root(a, p, method, ridge)[0],
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    singular = with_spectrum(np.array([2.0, 1.0, 0.0, 0.0]), np.random.default_rng(3))[None]
    np.testing.assert_allclose(np.linalg.eigvalsh(inverse_root(singular, p, "eigh", 0.25)[0])[-1], 4 ** (1 / p), rtol=1e-12)


@pytest.mark.parametrize(("method", "p"), [*ROOT_ITERATIONS, ("polar_express", 2)])
def test_singular_matrices_fall_back_to_the_pseudo_inverse(method, p):
    rng = np.random.default_rng(4)
    deficient = with_spectrum(np.array([3.0, 0.7, 0.2, 0.0, 0.0, 0.0]), rng)
    good = with_spectrum(np.linspace(1.0, 2.0, 6), rng)
    values, q = np.linalg.eigh(deficient)
    kept = values > 1e-10
    pseudo = (q[:, kept] * values[kept] ** (-1 / p)) @ q[:, kept].T
    with np.errstate(all="ignore"):
        found = checked_inverse_root(np.stack([good, deficient, 0 * good, 5 * good]), p, method)
    np.testing.assert_array_equal(found.fell_back, [False, True, True, False])
    np.testing.assert_allclose(found.value[1], pseudo, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.value[2], 0.0)
    np.testing.assert_allclose(found.value[3], 5 ** (-1 / p) * found.value[0], rtol=0, atol=1e-13)
    assert (found.residual[[0, 3]] < 1e-12).all() and not (found.residual[1:3] < 0.1).any()


def test_the_residual_says_how_far_a_value_is_from_a_root_and_the_tolerance_decides():
    a = stack(10, (1e2, 1e6, 1e10))
    x = inverse_root(a, 2, "polar_express")
    expected = np.linalg.norm(x @ x @ a - np.eye(10), axis=(1, 2)) / np.sqrt(10)
    found = checked_inverse_root(a, 2, "polar_express", tolerance=1e-3)
    np.testing.assert_allclose(found.residual, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.fell_back, expected > 1e-3)
    np.testing.assert_array_equal(found.fell_back, [False, False, True])
    np.testing.assert_array_equal(found.value[2], inverse_root_by_eigh(a[2:])[0])
    np.testing.assert_array_equal(found.value[:2], x[:2])
    assert checked_inverse_root(a, 2, "polar_express", tolerance=0.0).fell_back.all()


@pytest.mark.parametrize(("method", "p"), [("eigh", 2), *ROOT_ITERATIONS, ("polar_express", 2)])
def test_a_matrix_that_is_not_finite_spoils_only_itself(method, p):
    a = stack(6, (10.0, 10.0, 10.0, 1e3))
    a[1, 2, 3], a[2, 0, 0] = np.nan, np.inf
    with np.errstate(all="ignore"):
        plain, checked = inverse_root(a, p, method), checked_inverse_root(a, p, method)
    np.testing.assert_array_equal(plain[[0, 3]], inverse_root(a[[0, 3]], p, method))
    np.testing.assert_array_equal(checked.value[[0, 3]], plain[[0, 3]])
    assert np.isnan(checked.value[1:3]).all() and checked.fell_back[1:3].all() and not checked.fell_back[[0, 3]].any()
    assert np.isnan(polar(a)[1:3]).any(axis=(1, 2)).all() and np.isnan(eigh(a)[0][1:3]).all()


def test_float32_stays_float32_and_is_good_to_its_own_rounding():
    a = stack(24, (1e2, 1e4)).astype(np.float32)
    expected = np.stack([forty_digits(each.astype(float), 2) for each in a])
    for method in ("coupled_newton", "newton_schulz", "polar_express", "eigh"):
        found = inverse_root(a, 2, method)
        assert found.dtype == np.float32
        assert (off(found, expected) <= [2e-6, 1e-4]).all()
    assert checked_inverse_root(stack(24, (1e8,)).astype(np.float32)).fell_back.all()


def test_refused_roots():
    a = stack(3, (2.0,))
    with pytest.raises(TheorysimError, match="newton_schulz computes inverse square roots, not p=4; take p=2, or coupled_newton"):
        inverse_root(a, 4, "newton_schulz")
    with pytest.raises(TheorysimError, match="method='cholesky' is not allowed; choose one of eigh, coupled_newton"):
        inverse_root(a, 2, "cholesky")
    with pytest.raises(TheorysimError, match="p=0 is not allowed"):
        inverse_root(a, 0)
    with pytest.raises(TheorysimError, match="method='eigh' is not allowed; choose one of svd"):
        checked_polar(a, "eigh")


# ------------------------------------------------------------------------------------------------ the authors' table
def test_polar_express_on_a_diagonal_is_the_table_applied_to_each_eigenvalue():
    y = np.array([0.9, 0.3, 1e-2, 1e-5, 1e-7, 1e-8, 1e-9, 1e-10, 0.0])
    z, square = np.ones_like(y), y.copy()
    for a, b, c in POLAR_EXPRESS:
        h = a + b * (z * square) + c * (z * square) ** 2
        z, square = h * z, h * square
    np.testing.assert_allclose(coupled(np.diag(y)[None], POLAR_EXPRESS)[0], np.diag(z), rtol=1e-12)
    np.testing.assert_allclose((z * np.sqrt(y))[:5], 1.0, rtol=0, atol=1e-14)
    np.testing.assert_allclose((z * np.sqrt(y))[5:8], [0.9943, 0.6240, 0.2208], rtol=0, atol=5e-5)
    assert len(POLAR_EXPRESS) == 10 and abs(z[-1] - 22371.3) < 0.05


def test_polar_express_normalises_as_the_authors_code():
    a = stack(5, (30.0,))[0]
    nu = 1.01 * np.linalg.norm(a + 1e-10 * np.eye(5))
    y, z = a / nu, np.eye(5)
    for a1, b1, c1 in POLAR_EXPRESS:
        k = z @ y
        b = b1 * k + c1 * k @ k
        y, z = a1 * y + y @ b, a1 * z + b @ z
    np.testing.assert_allclose(polar_express_inverse_root(a[None])[0], z / np.sqrt(nu), rtol=0, atol=1e-13)
    # eps is in the normaliser only: it is what is left of a zero matrix, whose "root" is not infinite.
    nothing = polar_express_inverse_root(np.zeros((1, 5, 5)))[0]
    np.testing.assert_allclose(nothing, 22371.3 / np.sqrt(1.01e-10 * np.sqrt(5)) * np.eye(5), rtol=1e-5, atol=0)


# ------------------------------------------------------------------------------------------------ polar factors
SHAPES = [(12, 20), (20, 12), (12, 12), (1, 7), (7, 1)]


def generic(shape, rows=3, seed=8):
    return np.random.default_rng(seed).standard_normal((rows, *shape)) * 1.7


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", ["svd", "newton_schulz", "polar_express"])
def test_polar_factors_against_scipy(method, shape):
    a = generic(shape)
    found = checked_polar(a, method)
    expected = np.stack([scipy.linalg.polar(each)[0] for each in a])
    np.testing.assert_allclose(found.value, expected, rtol=0, atol=1e-10)
    assert not found.fell_back.any() and (found.residual < 1e-9).all()


@pytest.mark.parametrize("method", ["newton_schulz", "polar_express"])
def test_hard_polar_factors_fall_back(method):
    rng, a = np.random.default_rng(6), generic((6, 9), 4)
    u, v = basis(6, rng), basis(9, rng)[:6]
    a[1] = (u[:, :3] * [3.0, 2.0, 1.0]) @ v[:3]
    a[2] = 0.0
    a[3, 0, 0] = np.nan
    with np.errstate(all="ignore"):
        found = checked_polar(a, method)
    np.testing.assert_array_equal(found.fell_back, [False, True, True, True])
    np.testing.assert_allclose(found.value[1], u[:, :3] @ v[:3], rtol=0, atol=1e-13)
    np.testing.assert_array_equal(found.value[2], 0.0)
    assert np.isnan(found.value[3]).any() and np.isfinite(found.value[:3]).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_five_steps_of_muon_on_the_singular_values(shape):
    a = generic(shape)
    u, s, zt = np.linalg.svd(a, full_matrices=False)
    s = s / np.linalg.norm(s, axis=1, keepdims=True)
    for _ in range(5):
        s = MUON[0] * s + MUON[1] * s**3 + MUON[2] * s**5
    np.testing.assert_allclose(muon_polar(a), u * s[:, None, :] @ zt, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(muon_polar(0 * a), 0.0)


def test_polar_express_by_the_polar_form_is_its_coupled_form():
    """U = (a a')^{-1/2} a: the same table, once on singular values and once on their squares."""
    a = generic((6, 11))
    direct = polar_by_quintics(a, POLAR_EXPRESS, margin=1.0)
    gram = a @ np.swapaxes(a, 1, 2) / np.sum(a * a, axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(
        direct, coupled(gram, POLAR_EXPRESS) @ a / np.linalg.norm(a, axis=(1, 2))[:, None, None], atol=1e-10
    )


# ------------------------------------------------------------------------------------------------ devices
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_everything_runs_on_the_array_standard_alone(strict, dtype):
    a, g = stack(6, (5.0, 1e2)), generic((4, 6), 2)
    a[1] = with_spectrum(np.array([1.0, 0.5, 0.2, 0.0, 0.0, 0.0]), np.random.default_rng(7))
    a, g = a.astype(dtype), g.astype(dtype)
    there, gradient = strict.asarray(a, getattr(strict.xp, dtype)), strict.asarray(g, getattr(strict.xp, dtype))
    atol = 1e-10 if dtype == "float64" else 3e-4
    with np.errstate(all="ignore"):
        for method in ("eigh", "coupled_newton", "newton_schulz", "polar_express"):
            ours, theirs = checked_inverse_root(a, 2, method), checked_inverse_root(there, 2, method)
            np.testing.assert_allclose(to_host(theirs.value), ours.value, rtol=0, atol=atol)
            np.testing.assert_array_equal(to_host(theirs.fell_back), ours.fell_back)
            assert theirs.value.dtype == there.dtype
        for method in ("svd", "newton_schulz", "polar_express"):
            np.testing.assert_allclose(to_host(checked_polar(gradient, method).value), checked_polar(g, method).value, atol=atol)
        np.testing.assert_allclose(to_host(muon_polar(gradient)), muon_polar(g), atol=atol)


def test_a_matrix_is_treated_alike_whatever_stack_it_stands_in():
    """Bit for bit, also where the stack is given to several threads."""
    a = stack(40, tuple(np.geomspace(2.0, 1e13, 60)))
    whole = checked_inverse_root(a, 2, "newton_schulz")
    assert 0 < whole.fell_back.sum() < len(a)
    for rows in (slice(0, 1), slice(7, 31), slice(58, 60)):
        part = checked_inverse_root(a[rows], 2, "newton_schulz")
        for each, other in zip(part, whole, strict=True):
            np.testing.assert_array_equal(each, other[rows])
