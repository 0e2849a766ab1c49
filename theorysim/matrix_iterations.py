"""Inverse roots and polar factors by matrix products alone, as optimizers compute them on a GPU.

Each iteration takes a fixed number of steps for a whole stack, so that nothing waits for the device and a matrix is treated
alike whatever stack it stands in. The plain functions return what the iteration ends with, the ``checked_`` ones measure how
well it solves its equation and compute again, by a decomposition, the matrices for which it does not.

Every iteration starts from the identity, with which all matrices commute. From the root of a slightly different matrix it would
need few steps, but a coupled iteration from X_0 goes to X_0^2 (X_0 a X_0)^{-1/2} X_0^{-1}, which is farther from a^{-1/2} than
X_0 itself (measured: condition 1e4, change 1e-2: error 2e-3 before, 5e-2 after) while its own test of convergence is passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from theorysim.backend import namespace, over_stack, to_host
from theorysim.matrix_functions import frobenius, identity_like, inverse_root_by_eigh, polar, transposed
from theorysim.model import Array, PerRow, TheorysimError
from theorysim.validation import one_of, positive_integer

Quintic = tuple[float, float, float]
"""(a, b, c) of the odd polynomial a x + b x^3 + c x^5."""

NEWTON_SCHULZ: Quintic = (2.0, -1.5, 0.5)
MUON: Quintic = (3.4445, -4.7750, 2.0315)  # steep at 0; its fixed points are an interval around 1 [Jordan et al. 2024]
# The table of the authors of ASGO; the steep ones are damped, so that rounding cannot push a value out of their interval.
_STEEP: tuple[Quintic, ...] = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
_FLAT: Quintic = (1.875, -1.25, 0.375)
POLAR_EXPRESS: tuple[Quintic, ...] = (*((a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in _STEEP), *3 * (_FLAT,))
MARGIN, POLAR_EXPRESS_EPS = 1.01, 1e-10  # of the normaliser that goes with the table

ROOTS = ("eigh", "coupled_newton", "newton_schulz", "polar_express")
POLARS = ("svd", "newton_schulz", "polar_express")
_NEWTON_STEPS, _SCHULZ_STEPS = 50, 30  # enough for condition 1e12: a small eigenvalue grows 2.25-fold, 4-fold a step


class Checked(NamedTuple):
    """``value`` (rows, ...); ``residual`` (rows,), of the iteration; ``fell_back`` (rows,): was it computed again?"""

    value: Array
    residual: Array
    fell_back: Array


# ------------------------------------------------------------------------------------------------ inverse roots
def inverse_root(a: Array, p: int = 2, method: str = "eigh", ridge: PerRow = 0.0) -> Array:
    """(a + ridge I)^{-1/p} of symmetric positive semidefinite matrices ``(rows, k, k)`` by the method of that name.

    ``eigh``: the reference, a pseudo-inverse for singular matrices. ``coupled_newton``: any p. ``newton_schulz`` and
    ``polar_express``: p = 2. An iteration returns what it ends with: where its matrix is singular or too ill-conditioned for its
    steps that is no root (see checked_inverse_root), and not finite where it diverged. Raises TheorysimError for another method
    or p.
    """
    p = _root(p, one_of("method", method, ROOTS))
    if method == "eigh":
        return inverse_root_by_eigh(a, p, ridge)
    iteration: Callable[[Array], Array] = {
        "coupled_newton": lambda part: coupled_newton(part, p),
        "newton_schulz": newton_schulz_inverse_root,
        "polar_express": polar_express_inverse_root,
    }[method]
    return over_stack(lambda part: (iteration(part),), a + ridge * identity_like(a))[0]


def checked_inverse_root(
    a: Array, p: int = 2, method: str = "coupled_newton", ridge: PerRow = 0.0, tolerance: float | None = None
) -> Checked:
    """The same with a residual, |X^p (a + ridge I) - I|_F / sqrt(k), and eigh for the matrices where it is above ``tolerance``.

    Default tolerance: the root of the type's epsilon. Singular matrices fall back to the pseudo-inverse; those that are not
    finite give NaN, alone.
    """
    value = inverse_root(a, p, method, ridge)
    shifted = a + ridge * identity_like(a)
    residual = _distance_from_identity(_power(value, p) @ shifted)
    return _with_fall_back(value, residual, tolerance, shifted, lambda part: inverse_root_by_eigh(part, p))


def coupled_newton(a: Array, p: int = 2, steps: int = _NEWTON_STEPS) -> Array:
    """a^{-1/p} by X <- X T, M <- T^p M with T = ((p + 1) I - M)/p, where M = X^p a goes to I. ``(rows, k, k)``.

    [Guo, Higham 2006; scaled so that the eigenvalues of the first M are at most (p + 1)/2]
    """
    eye = identity_like(a)
    c = 2 * _positive(frobenius(a)) / (p + 1)
    x, m = eye / c ** (1 / p), a / c
    for _ in range(steps):
        t = ((p + 1) * eye - m) / p
        x, m = x @ t, _power(t, p) @ m
    return x


def newton_schulz_inverse_root(a: Array, steps: int = _SCHULZ_STEPS) -> Array:
    """a^{-1/2} by the coupled quintic (2, -3/2, 1/2). ``(rows, k, k)``."""
    size = _positive(frobenius(a))
    return coupled(a / size, steps * (NEWTON_SCHULZ,)) / size**0.5


def polar_express_inverse_root(a: Array) -> Array:
    """a^{-1/2} by the ten quintics of the authors' code, ``(rows, k, k)``.

    A root to rounding for eigenvalues above 1e-7 of |a|_F. Below, its values stay under 22371 |a|_F^{-1/2} / sqrt(1.01): this is
    what regularises the authors' method. [ASGO, the authors' code]
    """
    size = MARGIN * frobenius(a + POLAR_EXPRESS_EPS * identity_like(a))
    return coupled(a / size, POLAR_EXPRESS) / size**0.5


def coupled(y: Array, quintics: Iterable[Quintic]) -> Array:
    """Z, which goes to y^{-1/2}, for symmetric y with eigenvalues in [0, 1]: Y <- Y h(Z Y), Z <- h(Z Y) Z from Z = I.

    h(K) = a + b K + c K^2; Y goes to y^{1/2}. ``(rows, k, k)``.
    """
    xp = namespace(y)
    z = xp.broadcast_to(identity_like(y), y.shape)
    for a, b, c in quintics:
        k = z @ y
        h = b * k + c * (k @ k)
        y, z = a * y + y @ h, a * z + h @ z
    return z


# ------------------------------------------------------------------------------------------------ polar factors
def checked_polar(a: Array, method: str = "newton_schulz", tolerance: float | None = None) -> Checked:
    """The polar factor U of each matrix ``(rows, m, n)`` by the method of that name, with |U U' - I|_F / sqrt(m), m <= n.

    ``newton_schulz``: 30 steps of (2, -3/2, 1/2). ``polar_express``: the ten quintics, for singular values above 3e-4 of |a|_F.
    Where the residual is above ``tolerance`` (default: the root of the type's epsilon), and in any case for ``svd``, by the
    singular value decomposition: the factor over the range.
    """
    if one_of("method", method, POLARS) == "svd":
        value = polar(a)
        residual = _off_isometry(value)
        return Checked(value, residual, namespace(a).zeros_like(residual, dtype=namespace(a).bool))
    quintics = _SCHULZ_STEPS * (NEWTON_SCHULZ,) if method == "newton_schulz" else POLAR_EXPRESS
    value = polar_by_quintics(a, quintics)
    return _with_fall_back(value, _off_isometry(value), tolerance, a, polar)


def muon_polar(a: Array, steps: int = 5) -> Array:
    """What Muon takes for the polar factor: ``steps`` quintics that move singular values to about [.7, 1.2]. ``(rows, m, n)``."""
    return polar_by_quintics(a, steps * (MUON,), margin=1.0)


def polar_by_quintics(a: Array, quintics: Iterable[Quintic], margin: float = MARGIN) -> Array:
    """a U diag(s) Z' with s sent through odd quintics, after a division by margin |a|_F; 0 for a = 0. ``(rows, m, n)``."""
    if a.shape[1] > a.shape[2]:
        return transposed(polar_by_quintics(transposed(a), quintics, margin))
    chain = tuple(quintics)
    return over_stack(lambda part: (_quintics(part, chain),), a / (margin * _positive(frobenius(a))))[0]


def _quintics(x: Array, quintics: tuple[Quintic, ...]) -> Array:
    for a, b, c in quintics:
        k = x @ transposed(x)
        x = a * x + (b * k + c * (k @ k)) @ x
    return x


# ------------------------------------------------------------------------------------------------ what they share
def _with_fall_back(value: Array, residual: Array, tolerance: float | None, a: Array, exact: Callable[[Array], Array]) -> Checked:
    """``exact`` of those of ``a`` whose residual is above the tolerance or no number, in the place of ``value``.

    The answer to which they are is the one thing that is brought to the host.
    """
    xp = namespace(a)
    limit = float(xp.finfo(a.dtype).eps) ** 0.5 if tolerance is None else tolerance
    fell_back = xp.logical_not(residual <= limit)
    rows = np.flatnonzero(to_host(fell_back))
    if not len(rows):
        return Checked(value, residual, fell_back)
    order = np.arange(a.shape[0])
    order[rows] = a.shape[0] + np.arange(len(rows))
    again = exact(_taken(a, rows))
    return Checked(_taken(xp.concat([value, again]), order), residual, fell_back)


def _positive(size: Array) -> Array:
    """``size``, and 1 in the place of 0."""
    return namespace(size).where(size == 0, 1.0 + 0.0 * size, size)


def _taken(a: Array, rows: Any) -> Array:
    """The matrices of these numbers, numbers on the host."""
    xp = namespace(a)
    return xp.take(a, xp.asarray(rows, device=array_api_compat.device(a)), axis=0)


def _distance_from_identity(a: Array) -> Array:
    """|a - I|_F / sqrt(k), ``(rows,)``."""
    return frobenius(a - identity_like(a))[:, 0, 0] / a.shape[1] ** 0.5


def _off_isometry(u: Array) -> Array:
    """|u u' - I|_F / sqrt(m) for m <= n, else that of the transpose."""
    return _distance_from_identity(u @ transposed(u) if u.shape[1] <= u.shape[2] else transposed(u) @ u)


def _power(a: Array, p: int) -> Array:
    """a^p by squaring."""
    if p == 1:
        return a
    half = _power(a, p // 2)
    return half @ half @ a if p % 2 else half @ half


def _root(p: int, method: str) -> int:
    p = positive_integer("p", p)
    if method in ("newton_schulz", "polar_express") and p != 2:
        raise TheorysimError(f"{method} computes inverse square roots, not p={p}; take p=2, or coupled_newton or eigh")
    return p
