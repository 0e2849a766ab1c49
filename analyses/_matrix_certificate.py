"""The part of a certificate that looks at matrices on the left of an iterate: L, V and B of a problem on m x n matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

import numpy as np

from theorysim.analyses._audit import RELATIVE, STANDARD_ERRORS, largest, ratio, upper
from theorysim.analyses._probes import Floats, Pairs, Probe
from theorysim.analyses.band import band
from theorysim.backend import to_host
from theorysim.findings import Finding
from theorysim.model import Array, Problem, TheorysimError

_EIGENVALUE = 1e-10  # of the largest eigenvalue
_FEWEST = 64  # stochastic gradients that can say something about their variance
_CUT = 1e-12  # of the largest eigenvalue: what counts as zero


def left_override(matrix: Array | Sequence[Sequence[float]], problem: Problem) -> Floats:
    """The ``left`` of a certificate as a host matrix; TheorysimError unless it is a symmetric m x m matrix of numbers."""
    try:
        values = np.asarray(to_host(matrix) if hasattr(matrix, "shape") else matrix, dtype=float)
    except ValueError as error:
        raise TheorysimError("left holds rows of different lengths or no numbers; give a symmetric matrix") from error
    if len(problem.shape) != 2 or values.shape != (problem.shape[0],) * 2:
        rows = f"{problem.shape[0]} x {problem.shape[0]}" if len(problem.shape) == 2 else "only allowed for matrices"
        raise TheorysimError(f"left of shape {values.shape} for iterates of shape {problem.shape}: it must be {rows}")
    if not np.isfinite(values).all() or np.abs(values - values.T).max() > _CUT * np.abs(values).max():
        raise TheorysimError("left must be symmetric and finite; give such a matrix")
    return values


class Left(NamedTuple):
    """A symmetric matrix M on the left. ``values``, ``vectors``: eigenvalues, ascending, and eigenvectors, (m,) and (m, m)."""

    matrix: Floats
    values: Floats
    vectors: Floats

    @classmethod
    def of(cls, matrix: Floats) -> Left:
        return cls(matrix, *np.linalg.eigh((matrix + matrix.T) / 2))

    def form(self, x: Floats) -> Floats:
        """tr(x' M x), (..., m, n) -> (...), and 1e-12 of the most it could be: outside the range of M rounding is left."""
        return np.asarray((x * (self.matrix @ x)).sum(axis=(-2, -1)) + _CUT * self.values[-1] * (x**2).sum(axis=(-2, -1)))

    def inverse_form(self, x: Floats) -> Floats:
        """tr(x' M^+ x); x outside the range of M counts as if M had 1e-12 of its norm there, so that it shows."""
        lengths = ((self.vectors.T @ x) ** 2).sum(axis=-1)
        return np.asarray(ratio(lengths, np.maximum(self.values, _CUT * self.values[-1])).sum(axis=-1))

    def solved(self, x: Floats) -> Floats:
        """M^+ x."""
        kept = self.values > _CUT * self.values[-1]
        inverse = np.divide(1.0, self.values, out=np.zeros_like(self.values), where=kept)
        return np.asarray((self.vectors * inverse) @ (self.vectors.T @ x))


def matrix_parts(
    probe: Probe, pairs: Pairs, hessian: Floats | None, noise: Floats | None, smooth: Floats | None
) -> list[Finding]:
    """What is declared, or given as ``smooth`` in place of the problem's L. ``noise``: (draws, coordinates) or None."""
    constants, capabilities, parts = probe.problem.constants, probe.problem.capabilities, []
    if smooth is not None or "left_smoothness" in capabilities:
        left = Left.of(np.asarray(capabilities["left_smoothness"]()) if smooth is None else smooth)
        parts += _smoothness(probe, left, pairs, hessian)
    variance = np.asarray(capabilities["left_noise"]()) if "left_noise" in capabilities else None
    if variance is not None and noise is not None:
        batch = float(constants.get("M", 1))
        parts += _noise(np.sqrt(batch) * noise.reshape(-1, *probe.problem.shape), Left.of(variance), constants)
    return parts + _gradients(probe, variance)


# ------------------------------------------------------------------------------------------------ smoothness
def _smoothness(probe: Probe, left: Left, pairs: Pairs, hessian: Floats | None) -> list[Finding]:
    """I (x) L >= H; excess <= 1/2 tr(h' L h); tr(grad' L^+ grad) <= 2 gap, as a step of L^+ cannot go below f*."""
    shape, parts = probe.problem.shape, []
    if hessian is not None:
        # in C order entry (i, j) has index i n + j, so what column-stacking calls I (x) L is L (x) I here
        least = float(np.linalg.eigvalsh(np.kron(left.matrix, np.eye(shape[1])) - hessian)[0])
        floor = -_EIGENVALUE * max(float(left.values[-1]), float(np.abs(hessian).max()))
        parts.append(band(least, floor, inf, label="left smoothness: least eigenvalue of I (x) L - H", predicted=0.0))
    worst = probe.preconditioned_pairs(lambda _, change: left.solved(_shaped(change, shape)).reshape(change.shape))
    joined = pairs.joined(worst)
    parts.append(upper("left smoothness", joined, left.form(_shaped(joined.step, shape))))
    points = [*probe.points(), *(probe.centre + step for step in worst.step)]
    shares = [ratio(left.inverse_form(_shaped(probe.gradient(x), shape)), 2 * probe.gap(x)) for x in points]
    label = "left smoothness at points (largest tr(grad' L^+ grad) / 2 gap)"
    return [*parts, band(largest(shares), -inf, 1 + RELATIVE, label=label, predicted=1.0)]


def _shaped(x: Floats, shape: tuple[int, ...]) -> Floats:
    return x.reshape(*x.shape[:-1], *shape)


# ------------------------------------------------------------------------------------------------ noise and gradients
def _noise(noise: Floats, left: Left, constants: Mapping[str, Any]) -> list[Finding]:
    """E N N' <= V^2, for N of batch 1: |d' V^-1 N|^2 has mean at most |d|^2 for all d. Also sigma_row_1norm, where declared.

    Half of the noise says where to look, the other half is judged there: the largest eigenvalue of a sample is too large.
    Nothing is said from a few samples, which is all there is of very large matrices.
    """
    if not left.matrix.any():
        return [band(float(np.abs(noise).max()), 0.0, 0.0, label="left noise: none, V = 0")]
    if len(noise) < _FEWEST:
        return []
    whitened = (left.vectors / np.maximum(left.values, _CUT * left.values[-1])).T @ noise
    first, second = whitened[::2], whitened[1::2]
    directions = np.linalg.eigh(np.tensordot(first, first, ((0, 2), (0, 2))))[1]
    squares = (np.concatenate([second, directions.T @ second], axis=1) ** 2).sum(axis=2)
    error = squares.std(axis=0) / np.sqrt(len(squares))
    used = {"E N N' / V^2, mean over all directions": float((whitened**2).sum() / len(whitened) / len(left.values))}
    label = "left noise: E N N' <= V^2 / M (largest excess in standard errors)"
    excess = largest(ratio(squares.mean(axis=0) - (1 + RELATIVE), error))
    parts = [band(excess, -inf, STANDARD_ERRORS, label=label, details=used)]
    return parts + ([_rows(noise, float(constants["sigma_row_1norm"]))] if "sigma_row_1norm" in constants else [])


def _rows(noise: Floats, bound: float) -> Finding:
    """sum_i (E |row_i N|^2)^{1/2} <= bound, with the standard error of this function of means."""
    squares = (noise**2).sum(axis=2)
    roots = np.sqrt(squares.mean(axis=0))
    error = ratio(squares / 2, roots).sum(axis=1).std() / np.sqrt(len(squares))
    label = "sigma_row_1norm bounds the deviations of the rows (excess in standard errors)"
    excess = largest(ratio(np.array([roots.sum() - bound * (1 + RELATIVE)]), np.array([error])))
    return band(excess, -inf, STANDARD_ERRORS, label=label, details={"used": float(roots.sum() / bound) if bound else 0.0})


def _gradients(probe: Probe, variance: Floats | None) -> list[Finding]:
    """tr(B^-1 E G G') <= tr B for stochastic gradients G, and ‖grad‖_F <= G_F, at every point."""
    constants, parts = probe.problem.constants, []
    gradients = [_shaped(probe.gradient(x), probe.problem.shape) for x in (*probe.points(), probe.centre)]
    if "left_gradient" in probe.problem.capabilities:
        left = Left.of(np.asarray(probe.problem.capabilities["left_gradient"]()))
        noisy = 0.0 if variance is None else left.inverse_form(variance) / float(constants.get("M", 1))
        share = largest([left.inverse_form(g) + noisy for g in gradients]) / float(np.trace(left.matrix))
        label = "left gradients (largest tr(B^+ E G G') / tr B)"
        parts.append(band(share, -inf, 1 + RELATIVE, label=label, predicted=1.0))
    if "G_F" in constants:
        size = largest([np.sqrt((g**2).sum(axis=(-2, -1))) for g in gradients]) / float(constants["G_F"])
        parts.append(band(size, -inf, 1 + RELATIVE, label="G_F (largest gradient / G_F)", predicted=1.0))
    return parts


# ------------------------------------------------------------------------------------------------ constants
_MATRICES = {"L": "left_smoothness", "V": "left_noise", "Q": "left_gradient"}


def matrix_constants(probe: Probe) -> dict[str, Any]:
    """Norms of L, V and B, distances in norms of matrices and the sizes of an iterate, measured again."""
    m, n = probe.problem.shape
    error, measured = _shaped(probe.start - probe.centre, (m, n)), {"m": m, "n": n}
    for name, capability in _MATRICES.items():
        if capability in probe.problem.capabilities:
            values = np.linalg.svd(np.asarray(probe.problem.capabilities[capability]()), compute_uv=False)
            measured |= {f"{name}_nuclearnorm": values.sum(), f"{name}_opnorm": values[0]}
    if probe.problem.minimizer is not None:
        measured |= {"D_op_0": np.linalg.norm(error, 2, axis=(1, 2)), "D_row_0": np.linalg.norm(error, axis=2).max(axis=1)}
    return measured
