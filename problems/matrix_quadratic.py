"""Quadratics of a matrix: f(W) = 1/2 tr(X' A X B) with X = W - W*, A on the left and B on the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import to_host
from theorysim.laws import spectrum as spectrum_law
from theorysim.laws import vector
from theorysim.model import Array, Draw, Problem, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.problems._additive_noise import deviations
from theorysim.problems._constants import distances, norms
from theorysim.problems._matrix_start import (
    MATRIX_STARTS,
    orthonormal,
    placed,
    random_signs,
    singular_profile,
    start_matrix,
)
from theorysim.problems._rotation import rotation as orthogonal
from theorysim.problems._row_sums import row_sums
from theorysim.registry import register_problem
from theorysim.validation import finite, one_of, positive_integer

Floats = NDArray[np.float64]

_TURNS = {"left": Draw(2), "right": Draw(3)}
_RIGHT = Draw(6)


@register_problem
def matrix_quadratic(
    draws: Draws,
    m: int = 16,
    n: int = 16,
    spectrum: str | Sequence[float] = "power",
    decay: float = 1.0,
    kappa: float = 10.0,
    head: int = 8,
    scale: float = 1.0,
    right: str | Sequence[float] = "ones",
    right_decay: float = 2.0,
    rotation: str | Sequence[Sequence[float]] | None = None,
    turned: str | None = None,
    start: str | Sequence[Sequence[float]] = "gaussian",
    profile: str | Sequence[float] = "power",
    profile_decay: float = 0.0,
    start_decay: float = 0.2,
    normalize: str | None = None,
    distance: float = 1.0,
    noise: float | Sequence[float] = 0.0,
    noise_law: str = "flat",
    noise_decay: float = 1.0,
    batch: int = 1,
) -> Problem:
    """A quadratic of an m x n matrix, matrix-smooth with known L, with noise of known matrix variance in the gradient; w* = 0.

    The gradient is A X B, with A = U diag(a) U'. ``spectrum``, ``decay``, ``kappa``, ``head``, ``scale``: a, see laws.spectrum.
    ``rotation``: U, see _rotation.rotation. ``right``: B is diagonal: ``"ones"`` (then the Hessian is n equal diagonal blocks A),
    ``"groups"`` (m groups of n/m columns, j^-right_decay in each) or a list. ``start``, ``profile``, ``profile_decay``: X_1, see
    _matrix_start.start_matrix, or ``"aligned"``, U diag(p) Q' with random orthonormal Q and the profile p (X_1 X_1' commutes with
    A), or ``"groups"``, row i of U' X_1 in group i, with entries +-j^(-(1 + start_decay)/2) and norm 1. ``normalize``,
    ``distance``: of X_1, see _matrix_start.placed. ``turned``: the whole instance, noise included, in other coordinates P W Q,
    with random orthogonal P, Q or both: ``"left"``, ``"right"``, ``"both"``.
    ``noise``, ``noise_law``, ``noise_decay``: v, as a list or a factor of ``flat`` 1, ``spectrum`` a, ``power`` i^-noise_decay.
    The noise is N = U diag(v) Z / sqrt(n batch) with standard normal Z, so E N N' = V^2 / batch with V = U diag(v) U'.

    Constants: L_nuclearnorm, L_opnorm (of L = max(B) A), V_nuclearnorm, V_opnorm, lambda_max, lambda_min, trace_H, L_1norm,
    L_infnorm, sigma_1norm, sigma_2norm, l_1norm (sum of l with diag(l) >= L), sigma_row_1norm (sum over rows of the deviation of
    the row), sigma_full (trace of the root of the covariance), M, m, n, and per row D_op_0, D_2_0, D_inf_0, D_row_0, Delta_0.
    Vectors: L, sigma (m, n), as for vector problems. Capabilities: left_smoothness, left_noise (L and V), hessian, turn (P, Q).
    """
    m, n, batch = positive_integer("m", m), positive_integer("n", n), positive_integer("batch", batch)
    a = spectrum_law(spectrum, m, draws, decay=decay, kappa=kappa, head=head, scale=scale)
    b, v = _right(right, right_decay, m, n), deviations(noise, noise_law, noise_decay, a)
    frame = _frame(orthogonal(rotation, m, draws), turned, (m, n), draws)
    xp, asarray = draws.backend.xp, draws.backend.asarray
    inside, outside = frame.maps(draws)
    curvature, deviation = asarray(a[:, None] * b), asarray(v[:, None] / np.sqrt(n * batch))
    if start == "aligned":
        values = asarray(singular_profile(profile, profile_decay, min(m, n), draws))
        y = _aligned(values, (m, n), draws)
    elif start == "groups":
        y = asarray(_groups((m, n), start_decay)) * random_signs(draws, (m, n))
    else:
        if isinstance(start, str):
            one_of("start", start, (*MATRIX_STARTS, "aligned", "groups"))
        y = frame.in_axes(start_matrix(start, (m, n), draws, profile=profile, profile_decay=profile_decay), draws)
    w1 = placed(outside(y), normalize, distance)

    def gap(w: Array) -> Array:
        y = inside(w)
        return 0.5 * xp.sum(curvature * y * y, axis=(1, 2))

    def gradient(w: Array) -> Array:
        return outside(curvature * inside(w))

    def sample(w: Array, draw: Draw) -> Array:
        return outside(curvature * inside(w) + deviation * draws.normal(Stream.GRADIENT, draw, (m, n)))

    known = _Known.of(frame, a, b, v)
    return Problem(
        shape=(m, n),
        start=w1,
        minimizer=xp.zeros_like(w1),
        constants={**known.constants, **distances(w1), "M": batch, "m": m, "n": n, "Delta_0": to_host(gap(w1))},
        gap=gap,
        gradient=gradient,
        sample=sample if v.any() else lambda w, draw: gradient(w),
        vectors={"L": asarray(known.L), "sigma": asarray(known.sigma)},
        capabilities={
            "left_smoothness": lambda: frame.left(a * b.max()),
            "left_noise": lambda: frame.left(v),
            "hessian": lambda: np.kron(frame.left(a), frame.right(b)),
            "turn": (frame.p, frame.q),
        },
    )


@dataclass(frozen=True)
class _Frame:
    """The coordinates of an instance: w = (P U) y Q, with U, P (m, m) and Q (n, n) orthogonal or None."""

    u: Floats | None
    p: Floats | None
    q: Floats | None

    @property
    def basis(self) -> Floats | None:
        """P U, (m, m)."""
        return self.u if self.p is None else self.p if self.u is None else self.p @ self.u

    def maps(self, draws: Draws) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
        """w -> y and y -> w for batches."""
        here, there = _placed_pair(self.basis, draws)
        forth, back = _placed_pair(self.q, draws)
        return (lambda w: _product(there, w, back)), (lambda y: _product(here, y, forth))

    def in_axes(self, x: Array, draws: Draws) -> Array:
        """y = U' x, for an x before it is turned."""
        return _product(_placed_pair(self.u, draws)[1], x, None)

    def left(self, values: Floats) -> Floats:
        """P U diag(values) U' P'."""
        basis = self.basis
        return np.diag(values) if basis is None else (basis * values) @ basis.T

    def right(self, values: Floats) -> Floats:
        """Q' diag(values) Q."""
        return np.diag(values) if self.q is None else (self.q.T * values) @ self.q


def _placed_pair(q: Floats | None, draws: Draws) -> tuple[Array | None, Array | None]:
    """Q and Q' on the device, or twice None."""
    return (None, None) if q is None else (draws.backend.asarray(q), draws.backend.asarray(q.T.copy()))


def _product(left: Array | None, x: Array, right: Array | None) -> Array:
    """left x right, where None stands for the identity."""
    x = x if left is None else left @ x
    return x if right is None else x @ right


def _frame(u: Floats | None, turned: str | None, shape: tuple[int, int], draws: Draws) -> _Frame:
    one_of("turned", turned, (None, "left", "right", "both"))
    p, q = (
        orthogonal("random", size, draws, _TURNS[side]) if turned in (side, "both") else None
        for side, size in zip(("left", "right"), shape, strict=True)
    )
    return _Frame(u, p, q)


def _right(law: str | Sequence[float], decay: float, m: int, n: int) -> Floats:
    if not isinstance(law, str):
        return vector("right", law, n)
    if one_of("right", law, ("ones", "groups")) == "ones":
        return np.ones(n)
    return np.tile(np.arange(1, _group(m, n) + 1.0) ** -finite("right_decay", decay), m)


def _groups(shape: tuple[int, int], decay: float) -> Floats:
    size = _group(*shape)
    row = np.arange(1, size + 1.0) ** (-(1 + finite("start_decay", decay)) / 2)
    return np.asarray(np.kron(np.eye(shape[0]), row / np.linalg.norm(row)))


def _group(m: int, n: int) -> int:
    if n % m:
        raise TheorysimError(f"groups need n to be a multiple of m, not n={n} for m={m}; change n")
    return n // m


def _aligned(values: Array, shape: tuple[int, int], draws: Draws) -> Array:
    """diag(p) Q', with the rows that p leaves over zero, ``(rows, m, n)``."""
    xp, rank = draws.backend.xp, values.shape[0]
    y = values[:, None] * xp.matrix_transpose(orthonormal(draws, _RIGHT, (shape[1], rank)))
    rest = xp.zeros((len(draws.runs), shape[0] - rank, shape[1]), dtype=y.dtype, device=draws.backend.device)
    return xp.concat([y, rest], axis=1)


class _Known(NamedTuple):
    """Constants, and for every entry: L, with diag(L) >= Hessian, and the deviation sigma of the noise at batch 1, ``(m, n)``."""

    constants: dict[str, float]
    L: Floats
    sigma: Floats

    @classmethod
    def of(cls, frame: _Frame, a: Floats, b: Floats, v: Floats) -> _Known:
        """From the curvatures ``a`` (m,) and ``b`` (n,) and the deviations ``v`` (m,), all in the axes of ``frame``."""
        top, n = float(b.max()), len(b)
        smooth = row_sums(top * frame.left(a)[None], top * float(a.max()))[0]
        deviation = np.sqrt(np.abs(frame.left(v**2).diagonal()) / n)
        across = b if frame.q is None else np.full(n, top)
        L, sigma = smooth[:, None] * across / (top or 1.0), np.tile(deviation[:, None], n)
        constants = {
            "L_nuclearnorm": top * float(a.sum()),
            "L_opnorm": top * float(a.max()),
            "V_nuclearnorm": float(v.sum()),
            "V_opnorm": float(v.max()),
            "lambda_max": top * float(a.max()),
            "lambda_min": float(a.min() * b.min()),
            "trace_H": float(a.sum() * b.sum()),
            "l_1norm": float(smooth.sum()),
            "sigma_row_1norm": float(np.sqrt(n) * deviation.sum()),
            "sigma_full": float(np.sqrt(n) * v.sum()),
        }
        return cls({**constants, **norms("L", L.ravel(), "1", "inf"), **norms("sigma", sigma.ravel(), "1", "2")}, L, sigma)
