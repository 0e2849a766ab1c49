"""One stage of equal steps of a linear method, in every eigendirection at once.

In an eigendirection of curvature lam the error e_t = (w_t - w*)_j and the momentum z_t of model.LinearMethod obey

    (e, z)' = M (e, z) - n (eta, kappa),   M = [[1 - q, 1 - q nu], [-k, beta - k nu]],   q = eta lam,   k = kappa lam,

with noise n of mean 0, independent in time. M^K has a closed form and the noise sums double, so K steps cost O(log K). It is
formed from det(I - M) = k + q (1 - beta) and 1 - det M, sums of terms of one sign, by log1p and expm1, which keeps all but a few
digits at condition numbers of 1e10; (e, z) because the second moments of (e_t, e_{t-1}) cancel by about 1/(1 - beta)^2. [derived;
for heavy ball the recursion is that of Pan, Liu, Wang, Zhang 2024]

Arrays have any shape, ``(..., dim)``, and a number of steps is one integer for all of them.
"""

from __future__ import annotations

from typing import NamedTuple

from theorysim.backend import namespace
from theorysim.model import Array


class Weights(NamedTuple):
    """One step in every eigendirection. ``lr``, ``push``: eta and kappa, what noise is multiplied by; ``q``, ``kick``: the same
    times the curvature. ``friction``: 1 - momentum. ``lost``: 1 - det M."""

    lr: Array
    push: Array
    q: Array
    kick: Array
    momentum: Array
    friction: Array
    ahead: Array
    lost: Array


class Power(NamedTuple):
    """The entries of M^K = [[a, b], [c, d]], one matrix for every eigenvalue."""

    a: Array
    b: Array
    c: Array
    d: Array


class Second(NamedTuple):
    """The second moments E e^2, E e z and E z^2."""

    ee: Array
    ez: Array
    zz: Array


def weights(lr: Array, momentum: Array, friction: Array, ahead: Array, push: Array | None, curvature: Array) -> Weights:
    """The step of these weights, arrays of one shape. ``push`` None: momentum lr, as heavy ball and Nesterov have it."""
    q = lr * curvature
    if push is None:
        return Weights(lr, momentum * lr, q, momentum * q, momentum, friction, ahead, friction + momentum * q * ahead)
    kick = push * curvature
    return Weights(lr, push, q, kick, momentum, friction, ahead, friction + momentum * q - kick * (1 - ahead))


def power(step: Weights, steps: int) -> Power:
    """M^steps."""
    xp, (_, _, q, kick, momentum, friction, ahead, _) = namespace(step.q), step
    if steps == 0:
        one, zero = xp.ones_like(q), xp.zeros_like(q)
        return Power(one, zero, zero, one)
    if steps == 1:
        return Power(1 - q, 1 - q * ahead, -kick, momentum - kick * ahead)
    c, s = _coefficients(product(step), step.lost, steps)
    half = (friction + kick * ahead - q) / 2
    return Power(c + half * s, (1 - q * ahead) * s, -kick * s, c - half * s)


def folded(step: Weights) -> tuple[Array, Weights]:
    """Where heavy ball has M of negative trace, and its step with q' = 2 (1 + beta) - q there: (-1)^t e_t obeys M with q' for q.

    Near q = (1 + sqrt beta)^2 the pair (e, z) would cancel as (e_t, e_{t-1}) does near (1 - sqrt beta)^2; (-1)^t e_t and its own
    momentum, (-1)^t (2 beta e_t - z_t), do not. Elsewhere, and without momentum, the step as it is.
    """
    xp, q = namespace(step.q), step.q
    negative = (q > 2 - step.friction) & (step.momentum > 0)
    damping = xp.where(negative, step.friction / (1 + xp.sqrt(xp.abs(step.momentum))), 0.0)
    other = xp.where(negative, damping**2 + _below(q, damping), q)
    return negative, step._replace(q=other, kick=step.momentum * other)


def log_radius(step: Weights) -> Array:
    """The logarithm of the spectral radius of M; the method converges in this direction if and only if it is below 0."""
    xp, lost = namespace(step.q), step.lost
    _, determined, discriminant = upright(product(step), lost)
    log_r = xp.log1p(-xp.where(lost < 1, lost, 0.0)) / 2
    return xp.where(discriminant < 0, xp.log1p(-slow_root(determined, lost, discriminant)), xp.where(lost < 1, log_r, -xp.inf))


def product(step: Weights) -> Array:
    """det(I - M)."""
    return step.kick + step.q * step.friction


def through(m: Power, p: Second) -> Second:
    """M P M' for symmetric P."""
    return Second(
        m.a * m.a * p.ee + 2 * m.a * m.b * p.ez + m.b * m.b * p.zz,
        m.a * m.c * p.ee + (m.a * m.d + m.b * m.c) * p.ez + m.b * m.d * p.zz,
        m.c * m.c * p.ee + 2 * m.c * m.d * p.ez + m.d * m.d * p.zz,
    )


def plus(p: Second, other: Second) -> Second:
    return Second(p.ee + other.ee, p.ez + other.ez, p.zz + other.zz)


# ------------------------------------------------------------------------------------------------ powers
def upright(determined: Array, lost: Array) -> tuple[Array, Array, Array]:
    """Where the trace is negative, and det(I - M) and 4 det M - (trace M)^2 of M, or of -M there."""
    xp = namespace(determined)
    trace = 2 - lost - determined
    determined = xp.where(trace < 0, 2 * (2 - lost) - determined, determined)
    damping = xp.where(lost < 1, lost / (1 + xp.sqrt(xp.abs(1 - lost))), 1.0)
    same_sign = (determined - damping**2) * _below(determined, damping)
    return trace < 0, determined, xp.where(lost < 1, same_sign, 4 * (1 - lost) - trace * trace)


def _below(q: Array, damping: Array) -> Array:
    """(2 - damping)^2 - q, with 4 - q exact near its zero."""
    return (4 - q) - damping * (4 - damping)


def slow_root(determined: Array, lost: Array, discriminant: Array) -> Array:
    """1 - z for the larger root z of an M of positive trace whose roots are real and differ; 0 elsewhere."""
    xp, real, total = namespace(lost), discriminant < 0, lost + determined
    root, ahead = xp.where(real, xp.sqrt(xp.abs(discriminant)), 1.0), real & (total >= 0)
    return xp.where(real, xp.where(ahead, 2 * determined / (xp.where(ahead, total, 1.0) + root), (total - root) / 2), 0.0)


def _coefficients(determined: Array, lost: Array, steps: int) -> tuple[Array, Array]:
    """c and s of M^steps = c I + s (M - (trace M / 2) I), for steps >= 2.

    Complex roots r exp(+-i theta): c = r^K cos K theta, s = r^(K-1) sin K theta / sin theta; real ones z_1 and z_2 = z_1 (1 - t):
    c = z_1^K (1 + (1 - t)^K)/2, s = z_1^(K-1) (1 - (1 - t)^K)/t; equal ones: c = r^K, s = K r^(K-1).
    """
    xp = namespace(lost)
    negative, determined, discriminant = upright(determined, lost)
    r_less = xp.exp((steps - 1) / 2 * xp.log1p(-xp.where(lost < 1, lost, 0.0)))
    r_less = xp.where(lost < 1, r_less, 0.0)
    c, s = r_less * xp.sqrt(xp.abs(1 - lost)), steps * r_less
    for chosen, roots in ((discriminant > 0, _oscillating), (discriminant < 0, _falling)):
        if xp.any(chosen):
            c[chosen], s[chosen] = roots(determined[chosen], lost[chosen], discriminant[chosen], steps)
    sign = -1.0 if steps % 2 else 1.0
    return xp.where(negative, sign * c, c), xp.where(negative, -sign * s, s)


def _oscillating(determined: Array, lost: Array, discriminant: Array, steps: int) -> tuple[Array, Array]:
    xp = namespace(lost)
    theta, log_r = xp.atan2(xp.sqrt(discriminant), 2 - lost - determined), xp.log1p(-lost) / 2
    r_less = xp.exp((steps - 1) * log_r)
    return r_less * xp.sqrt(1 - lost) * xp.cos(steps * theta), r_less * xp.sin(steps * theta) / xp.sin(theta)


def _falling(determined: Array, lost: Array, discriminant: Array, steps: int) -> tuple[Array, Array]:
    xp = namespace(lost)
    slow = slow_root(determined, lost, discriminant)
    t = xp.sqrt(-discriminant) / (1 - slow)
    ratio, rest = _geometric(t, steps)
    less = xp.exp((steps - 1) * xp.log1p(-slow))
    return less * (1 - slow) * (1 + ratio) / 2, less * rest / t


def _geometric(t: Array, steps: int) -> tuple[Array, Array]:
    """(1 - t)^steps and 1 - (1 - t)^steps for 0 < t <= 2."""
    xp = namespace(t)
    log_size = xp.where(t == 1, -xp.inf, xp.log1p(xp.where(t < 1, -t, xp.where(t > 1, t - 2, 0.0))))
    size = xp.exp(steps * log_size)
    power_ = xp.where(t > 1, -size, size) if steps % 2 else size
    return power_, xp.where(t < 1, -xp.expm1(steps * log_size), 1 - power_)
