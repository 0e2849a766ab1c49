"""The methods written down a second time, as the paper has them: paths of one run, and second moments of w and u by direction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Gradient = Callable[[Floats, int], Floats]


class Weights(NamedTuple):
    """w' = u - lr g, u' = (1 + gamma) w' - gamma w + eta_2 g; with ``ball`` gradients are taken at w, as heavy ball does."""

    lr: float
    gamma: float = 0.0
    eta_2: float = 0.0
    ball: bool = False


def mass(L1: float, kappa_tilde: float, mu: float) -> Weights:
    """The theory's weights, from constants of the minibatch."""
    s = np.sqrt(L1 / mu * kappa_tilde)
    return Weights(1 / L1, float((s - 1) / (s + 1)), float(s / (s + 1) / L1 * (1 - 1 / kappa_tilde)))


def path(weights: Weights, gradient: Gradient, start: Floats, steps: int) -> Floats:
    """w_0..w_T, ``(steps + 1, dim)``, with g_t = gradient(u_t, t), t = 1, 2, ..."""
    lr, gamma, eta_2, ball = weights
    w, u, iterates = start, start, [start]
    for t in range(1, steps + 1):
        g = gradient(w if ball else u, t)
        new = u - lr * g
        w, u = new, (1 + gamma) * new - gamma * w + eta_2 * g
        iterates.append(w)
    return np.stack(iterates)


class Noise(NamedTuple):
    """m Var g_j = own lam_j^2 U_j + lam_j (shared sum_k lam_k U_k + label^2), U_j the second moment where g is taken."""

    own: float
    shared: float
    label: float = 0.0
    batch: int = 1

    def square(self, lam: Floats, second: Floats) -> Floats:
        """E g_j^2."""
        varied = self.own * lam**2 * second + lam * (self.shared * np.sum(lam * second) + self.label**2)
        return np.asarray(lam**2 * second + varied / self.batch)


def second_moments(weights: Weights, noise: Noise, lam: Floats, start: Floats) -> Iterator[Floats]:
    """E (w_t - w*)_j^2 for t = 0, 1, ..., ``(dim,)`` each, from the products of w and u."""
    lr, gamma, eta_2, ball = weights
    w = c = u = start**2
    push = (1 + gamma) * lr - eta_2
    while True:
        yield w
        at, cross = (w, c) if ball else (u, u)  # E x^2 and E x u of the point x where the gradient is taken
        g2, with_w = noise.square(lam, at), lam * (w if ball else c)
        new_w = u - 2 * lr * lam * cross + lr**2 * g2
        new_c = (1 + gamma) * new_w - gamma * (c - lr * with_w) + eta_2 * (lam * cross - lr * g2)
        u = (
            (1 + gamma) ** 2 * u
            - 2 * (1 + gamma) * push * lam * cross
            + push**2 * g2
            - 2 * gamma * ((1 + gamma) * c - push * with_w)
            + gamma**2 * w
        )
        w, c = new_w, new_c
