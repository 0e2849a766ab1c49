"""One stage of equal steps of a linear method, in every eigendirection at once.

In an eigendirection of curvature lam the error e_t = (w_t - w*)_j and the displacement v_t = e_t - e_{t-1} obey

    (e, v)' = M (e, v) - eta n (1, 1),   M = [[1 - q, beta], [-q, beta]],   q = eta lam,   beta = (1 - delta)^2,

with noise n of mean 0, independent in time. M^K has a closed form and the noise sums double, so K steps cost O(log K). Everything
is formed from q and delta by log1p and expm1, never from beta, which keeps all but a few digits at condition numbers of 1e10;
(e, v) because the second moments of (e_t, e_{t-1}) cancel by about 1/(1 - beta)^2. [derived; the recursion is that of heavy ball
with anisotropic noise, Pan, Liu, Wang, Zhang 2024]

Arrays have any shape, ``(..., dim)``, and a number of steps is one integer for all of them.
"""

from __future__ import annotations

from typing import NamedTuple

from theorysim.backend import namespace
from theorysim.model import Array


class Power(NamedTuple):
    """The entries of M^K = [[a, b], [c, d]], one matrix for every eigenvalue."""

    a: Array
    b: Array
    c: Array
    d: Array


class Second(NamedTuple):
    """The second moments E e^2, E e v and E v^2 of the noise part."""

    ee: Array
    ev: Array
    vv: Array


def power(q: Array, delta: Array, steps: int) -> Power:
    """M^steps for 0 < delta < 1 and q <= 1 + beta of the same shape, or delta = 1 (no momentum) and any q.

    What lies above 1 + beta is brought below by ``folded``.
    """
    xp, beta = namespace(q, delta), (1 - delta) ** 2
    if steps == 0:
        one, zero = xp.ones_like(q), xp.zeros_like(q)
        return Power(one, zero, zero, one)
    if steps == 1:
        return Power(1 - q, beta, -q, beta)
    c, s = _coefficients(q, delta, steps)
    half = (delta * (2 - delta) - q) / 2
    return Power(c + half * s, beta * s, -q * s, c - half * s)


def accumulated(q: Array, delta: Array, steps: int) -> Second:
    """sum_{i < steps} M^i [[1, 1], [1, 1]] M^i': the second moments that ``steps`` kicks (1, 1) of variance 1 leave.

    By doubling over the binary digits of ``steps``, which adds and never subtracts, and holds for q = 0 too.
    """
    xp, step = namespace(q, delta), power(q, delta, 1)
    one = xp.ones_like(q)
    total = kick = Second(one, one, one)
    if steps == 0:
        return Second(*[xp.zeros_like(q)] * 3)
    done = 1
    for digit in bin(steps)[3:]:
        total, done = plus(through(power(q, delta, done), total), total), 2 * done
        if digit == "1":
            total, done = plus(through(step, total), kick), done + 1
    return total


def folded(q: Array, delta: Array) -> tuple[Array, Array]:
    """Where M has a negative trace, and q' = 2 (1 + beta) - q there: (-1)^t e_t obeys M with q' in place of q.

    Near q = (2 - delta)^2 the pair (e, v) would cancel as (e_t, e_{t-1}) does near delta^2; (-1)^t e_t and its own displacement,
    (-1)^t (2 e_t - v_t), do not. Elsewhere, and without momentum, q' = q.
    """
    negative = (q > 2 - delta * (2 - delta)) & (delta < 1)
    return negative, namespace(q).where(negative, delta**2 + _below(q, delta), q)


def spectral_radius(q: Array, delta: Array) -> Array:
    """The larger modulus of the eigenvalues of M; the method converges in this direction if and only if it is below 1."""
    xp, (_, m), plain = namespace(q, delta), folded(q, delta), delta >= 1
    m, damped = xp.where(plain, 0.5, m), xp.where(plain, 0.5, delta)
    momentum = xp.where(_discriminant(m, damped) < 0, xp.exp(_log_root(m, damped)), 1 - damped)
    return xp.where(plain, xp.abs(1 - q), momentum)


def stationary(q: Array, delta: Array) -> Array:
    """lim E e^2 / (variance of one kick eta n), inf where noise piles up without end (q = 0 or a spectral radius of 1 and above).

    (1 + beta) / (gamma q (2 (1 + beta) - q)) with gamma = 1 - beta; without momentum 1 / (q (2 - q)).
    """
    xp, gamma = namespace(q, delta), delta * (2 - delta)
    room = q * (delta**2 + _below(q, delta))
    return xp.where(room > 0, (2 - gamma) / (gamma * xp.where(room > 0, room, 1.0)), xp.inf)


def _below(q: Array, delta: Array) -> Array:
    """(2 - delta)^2 - q, with 4 - q exact near its zero."""
    return (4 - q) - delta * (4 - delta)


def _discriminant(q: Array, delta: Array) -> Array:
    """4 det M - (trace M)^2: positive where M oscillates."""
    return (q - delta**2) * _below(q, delta)


def _log_root(q: Array, delta: Array) -> Array:
    """The logarithm of the larger eigenvalue of M (trace M >= 0) where both are real and differ; 0 elsewhere."""
    xp, discriminant = namespace(q), _discriminant(q, delta)
    real, g = discriminant < 0, delta * (2 - delta) + q
    root, ahead = xp.where(real, xp.sqrt(xp.abs(discriminant)), 1.0), real & (g >= 0)
    excess = xp.where(ahead, -2 * q / (xp.where(ahead, g, 1.0) + root), (root - g) / 2)
    return xp.log1p(xp.where(real, excess, 0.0))


def _coefficients(q: Array, delta: Array, steps: int) -> tuple[Array, Array]:
    """c and s of M^steps = c I + s (M - (trace M / 2) I), for steps >= 2.

    Complex eigenvalues r exp(+-i theta): c = r^K cos K theta, s = r^(K-1) sin K theta / sin theta; real ones z_1 > z_2 > 0 with
    ratio exp(-2 phi): c = (z_1^K + z_2^K)/2, s = (z_1^K - z_2^K)/(z_1 - z_2); equal ones: c = r^K, s = K r^(K-1).
    """
    xp, plain = namespace(q, delta), delta >= 1
    s_plain = _geometric(q, steps - 1)
    c_plain = (1 - q) * s_plain / 2
    q, delta = xp.where(plain, 0.5, q), xp.where(plain, 0.5, delta)  # any values at which what follows is finite
    discriminant, trace = _discriminant(q, delta), 2 - delta * (2 - delta) - q
    root, log_r = xp.sqrt(xp.abs(discriminant)), xp.log1p(-delta)

    theta = xp.where(discriminant > 0, xp.atan2(root, trace), 1.0)
    r_power, r_less = xp.exp(steps * log_r), xp.exp((steps - 1) * log_r)
    c_complex, s_complex = r_power * xp.cos(steps * theta), r_less * xp.sin(steps * theta) / xp.sin(theta)

    log_z, phi = _log_root(q, delta), xp.where(discriminant < 0, xp.asinh(root / (2 * (1 - delta))), 1.0)
    c_real = xp.exp(steps * log_z) * (1 + xp.exp(-2 * steps * phi)) / 2
    s_real = xp.exp((steps - 1) * log_z) * xp.expm1(-2 * steps * phi) / xp.expm1(-2 * phi)

    c = xp.where(discriminant > 0, c_complex, xp.where(discriminant < 0, c_real, r_power))
    s = xp.where(discriminant > 0, s_complex, xp.where(discriminant < 0, s_real, steps * r_less))
    return xp.where(plain, c_plain, c), xp.where(plain, s_plain, s)


def _geometric(q: Array, steps: int) -> Array:
    """(1 - q)^steps for steps >= 1."""
    xp = namespace(q)
    less = xp.where(q <= 1, -q, q - 2)  # |1 - q| - 1
    size = xp.where(q == 1, 0.0, xp.exp(steps * xp.log1p(xp.where(q == 1, 0.0, less))))
    return xp.where(q > 1, -size, size) if steps % 2 else size


def through(m: Power, p: Second) -> Second:
    """M P M' for symmetric P."""
    return Second(
        m.a * m.a * p.ee + 2 * m.a * m.b * p.ev + m.b * m.b * p.vv,
        m.a * m.c * p.ee + (m.a * m.d + m.b * m.c) * p.ev + m.b * m.d * p.vv,
        m.c * m.c * p.ee + 2 * m.c * m.d * p.ev + m.d * m.d * p.vv,
    )


def plus(p: Second, other: Second) -> Second:
    return Second(p.ee + other.ee, p.ev + other.ev, p.vv + other.vv)
