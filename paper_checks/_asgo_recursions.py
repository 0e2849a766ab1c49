"""The methods of the paper written down a second time, for one run, with matrices formed as their definitions say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Gradient = Callable[[Floats, int], Floats]
Move = Callable[[list[Floats]], Floats]


def path(move: Move, gradient: Gradient, start: Floats, steps: int) -> Floats:
    """``(steps + 1, m, n)``: W_{t+1} = W_t - move(G_1, ..., G_t), with G_t = gradient(W_t, t)."""
    iterates, gradients = [np.asarray(start, dtype=float)], []
    for t in range(1, steps + 1):
        gradients.append(gradient(iterates[-1], t))
        iterates.append(iterates[-1] - move(gradients))
    return np.stack(iterates)


def power(matrix: Floats, exponent: float) -> Floats:
    """A power of a symmetric positive definite matrix; for a positive power it may be singular."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 0.0) ** exponent) @ vectors.T)


def asgo(lr: float, eps: float = 0.0) -> Move:
    def move(gradients: list[Floats]) -> Floats:
        root = power(sum_left(gradients), 0.5)
        return np.asarray(lr * np.linalg.solve(root + eps * np.eye(len(root)), gradients[-1]))

    return move


def asgo_right(lr: float, eps: float = 0.0) -> Move:
    left = asgo(lr, eps)
    return lambda gradients: left([g.T for g in gradients]).T


def one_sided_shampoo(lr: float, eps: float) -> Move:
    return lambda gradients: lr * power(eps**2 * np.eye(len(gradients[-1])) + sum_left(gradients), -0.5) @ gradients[-1]


def shampoo(lr: float, eps: float) -> Move:
    def move(gradients: list[Floats]) -> Floats:
        m, n = gradients[-1].shape
        left, right = eps * np.eye(m) + sum_left(gradients), eps * np.eye(n) + sum_left([g.T for g in gradients])
        return np.asarray(lr * power(left, -0.25) @ gradients[-1] @ power(right, -0.25))

    return move


def dasgo(lr: float, eps: float = 0.0, axis: int = 1) -> Move:
    """``axis``: 1 sums over each row, 0 over each column; None over all entries, the empty tuple over none."""
    return lambda gradients: lr * gradients[-1] / (np.sqrt(_squares(gradients, axis)) + eps)


def adagrad(lr: float, eps: float = 0.0) -> Move:
    return lambda gradients: lr * gradients[-1] / (np.sqrt(_squares(gradients, ())) + eps)


def adagrad_norm(lr: float, eps: float = 0.0) -> Move:
    return lambda gradients: lr * gradients[-1] / (np.sqrt(_squares(gradients, None)) + eps)


def full_matrix_adagrad(lr: float, eps: float) -> Move:
    def move(gradients: list[Floats]) -> Floats:
        flat = [g.reshape(-1, 1) for g in gradients]
        values, vectors = np.linalg.eigh(sum_left(flat))
        scale = np.sqrt(np.maximum(values, 0.0)) + eps
        along = np.where(scale > eps + 1e-6 * scale[-1], (vectors.T @ flat[-1])[:, 0] / scale, 0.0)
        return np.asarray(lr * (vectors @ along).reshape(gradients[-1].shape))

    return move


def muon(lr: float, nuclear: bool = False) -> Move:
    def move(gradients: list[Floats]) -> Floats:
        u, s, zt = np.linalg.svd(gradients[-1], full_matrices=False)
        return np.asarray(lr * (s.sum() if nuclear else 1.0) * u @ zt)

    return move


def descent(lr: float) -> Move:
    return lambda gradients: lr * gradients[-1]


def sum_left(gradients: list[Floats]) -> Floats:
    return np.asarray(np.sum([g @ g.T for g in gradients], axis=0))


def _squares(gradients: list[Floats], axis: int | tuple[int, ...] | None) -> Floats:
    return np.asarray(np.sum([np.sum(g * g, axis=axis, keepdims=True) for g in gradients], axis=0))
