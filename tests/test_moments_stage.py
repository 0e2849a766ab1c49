"""The closed form of a stage of equal steps: against 50 digits, and its own identities."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from theorysim.backend import Backend, to_host
from theorysim.moments.accumulated import accumulated as accumulated_with
from theorysim.moments.stage import (
    Power,
    Second,
    Weights,
    folded,
    log_radius,
    plus,
    power,
    product,
    through,
    weights,
)

Floats = np.ndarray[Any, Any]
DIGITS = 50

# q over both real ranges, the oscillating one and around the two critical values delta^2 and (2 - delta)^2
SHARES = (0.0, 1e-9, 0.3, 1 - 1e-6, 1.0, 1 + 1e-6, 7.0)
DELTAS = (1e-5, 3e-3, 0.1, 0.6, 1.0)


def accumulated(step: Weights, steps: int) -> Second:
    return accumulated_with(step, power(step, steps), steps)


def heavy_ball_grid() -> Weights:
    """Many directions, flat, also with steps so large that M has a negative trace or diverges; momentum (1 - delta)^2."""
    pairs = [(share * d * d, d) for d in DELTAS for share in SHARES if share * d * d < 4]
    pairs += [(q, d) for d in DELTAS for q in (1e-3, 0.2, 0.77, 1 - 1e-12, 1.0)]
    for d in DELTAS:
        top = (2 - d) ** 2
        pairs += [(q, d) for q in (1.3, 0.9 * top, top, top * (1 + 1e-7), 0.5 * (top + 2 + 2 * (1 - d) ** 2))]
    q, delta = np.array([*pairs, (5.0, 0.1), (2.5, 1.0)]).T
    friction = delta * (2 - delta)
    return weights(q, (1 - delta) ** 2, friction, 0 * q, None, 1 + 0 * q)


def ahead_grid() -> Weights:
    """Methods that look ahead, with the compensation of MaSS or without, det M of both signs, and momentum that pulls back."""
    rows = []
    for friction in (3e-6, 1e-3, 0.2, 1.0, 1.5):
        momentum = 1 - friction
        for q in (0.0, 1e-12, friction**2 / 4 * (1 + 1e-9), friction, 0.3, 1.0, 1.2):
            rows += [
                (q, momentum, friction, ahead, kick * q) for ahead in (0.3, 1.0) for kick in (momentum, 0.4 * momentum, 1e-3)
            ]
    q, momentum, friction, ahead, push = np.array(rows).T
    return weights(q, momentum, friction, ahead, push, np.ones_like(q))


GRIDS = {"heavy ball": folded(heavy_ball_grid())[1], "ahead": ahead_grid()}
every_grid = pytest.mark.parametrize("step", GRIDS.values(), ids=GRIDS)


def reference(step: Weights, j: int) -> Any:
    """M of direction j, as an mpmath matrix."""
    q, kick, friction, ahead = (mpmath.mpf(float(x[j])) for x in (step.q, step.kick, step.friction, step.ahead))
    if step.ahead[j] == 0:
        kick = (1 - friction) * q  # the product, before it was rounded
    return mpmath.matrix([[1 - q, 1 - q * ahead], [-kick, 1 - friction - kick * ahead]])


def kron(m: Any) -> Any:
    """The map of (E e^2, E e z, E z^2) that M makes."""
    (a, b), (c, d) = m.tolist()
    return mpmath.matrix([[a * a, 2 * a * b, b * b], [a * c, a * d + b * c, b * d], [c * c, 2 * c * d, d * d]])


@every_grid
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7, 100, 4001, 10**6])
def test_powers_agree_with_fifty_digits(step: Weights, steps: int) -> None:
    with np.errstate(all="ignore"):
        found = np.array(power(step, steps))
    with mpmath.workdps(DIGITS):
        for j in range(len(step.q)):
            exact = np.array([float(x) for x in reference(step, j) ** steps])
            if np.isinf(exact).any() or np.abs(exact).max() > 1e300:
                assert not np.isfinite(found[:, j]).all() or np.abs(found[:, j]).max() > 1e290
                continue
            # The phase K theta of an oscillation is known to eps K theta, so zero crossings are judged against the envelope.
            # Two roots near 0 are known to the root of the rounding, and so are their powers.
            near_zero = steps > 1 and np.abs(exact).max() < 1e-6 ** (steps - 1)
            allowed = 3e-8 ** (steps - 1) if near_zero else max(1e-8 * np.abs(exact).max(), 1e-298)
            assert np.abs(found[:, j] - exact).max() <= allowed, (step.q[j], step.friction[j], step.ahead[j])


@every_grid
@pytest.mark.parametrize("steps", [0, 1, 2, 6, 100, 40000])
def test_accumulated_noise_agrees_with_fifty_digits(step: Weights, steps: int) -> None:
    with np.errstate(all="ignore"):
        found = np.array(accumulated(step, steps))
    with mpmath.workdps(DIGITS):
        for j in range(len(step.q)):
            lr, push = mpmath.mpf(float(step.lr[j])), mpmath.mpf(float(step.push[j]))
            affine = mpmath.eye(4)
            affine[:3, :3] = kron(reference(step, j))
            affine[0, 3], affine[1, 3], affine[2, 3] = lr * lr, lr * push, push * push
            total = affine**steps
            if total[0, 3] > 1e300:
                assert not np.isfinite(found[0, j])
                continue
            exact = np.array([float(total[i, 3]) for i in range(3)])
            scale = np.array([exact[0], np.sqrt(exact[0] * exact[2]), exact[2]])
            assert (np.abs(found[:, j] - exact) <= 1e-8 * scale).all(), (step.q[j], step.friction[j])
    assert not (found[0] < 0).any()


@every_grid
def test_identities_of_powers(step: Weights) -> None:
    a, b, c, d = power(step, 31)
    det = (1 - step.lost) ** 31
    assert (np.abs(a * d - b * c - det) <= 1e-12 * (np.abs(a) + np.abs(c)) * (np.abs(b) + np.abs(d)) + 1e-300).all()
    one, two, both = (np.moveaxis(np.reshape(power(step, k), (2, 2, -1)), -1, 0) for k in (12, 19, 31))
    assert (np.abs(two @ one - both).max(axis=(1, 2)) <= 1e-11 * (np.abs(two) @ np.abs(one)).max(axis=(1, 2))).all()
    np.testing.assert_array_equal(np.array(accumulated(step, 1)), [step.lr**2, step.lr * step.push, step.push**2])
    np.testing.assert_array_equal(np.array(power(step, 0))[[0, 3]], 1.0)
    np.testing.assert_array_equal(np.array(accumulated(step, 0)), 0.0)
    np.testing.assert_allclose(
        product(step), (1 - power(step, 1).a) * (1 - power(step, 1).d) - power(step, 1).b * power(step, 1).c, atol=1e-15
    )


def test_a_folded_step_moves_the_same_error_with_alternating_signs() -> None:
    """(e, z) after K steps in the folded coordinates (2 beta e - z, signs (-1)^t) is (e, z) after K plain steps."""
    plain = heavy_ball_grid()
    negative, other = folded(plain)
    assert negative.any() and not negative.all()
    twice, e, z = 2 * plain.momentum, 0.7, -0.3
    for steps in (1, 2, 5):
        m, direct = power(other, steps), np.stack([np.full_like(plain.q, e), np.full_like(plain.q, z)])
        for _ in range(steps):
            one = power(plain, 1)
            direct = np.stack([one.a * direct[0] + one.b * direct[1], one.c * direct[0] + one.d * direct[1]])
        start = np.where(negative, twice * e - z, z)
        ended, momentum = m.a * e + m.b * start, m.c * e + m.d * start
        sign = np.where(negative, (-1.0) ** steps, 1.0)
        np.testing.assert_allclose(sign * ended, direct[0], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(
            sign * np.where(negative, twice * ended - momentum, momentum), direct[1], rtol=1e-11, atol=1e-13
        )


def test_without_momentum_the_noise_is_a_geometric_sum() -> None:
    q, one = np.array([0.3, 1.0, 1.7]), np.ones(3)
    step = weights(q, 0 * one, one, 0 * one, None, one)
    expected = q**2 * [sum((1 - x) ** (2 * i) for i in range(9)) for x in q]
    np.testing.assert_allclose(accumulated(step, 9).ee, expected, rtol=1e-13)
    np.testing.assert_array_equal(accumulated(step, 9).zz, 0.0)


@every_grid
def test_the_spectral_radius_is_that_of_the_matrix(step: Weights) -> None:
    with mpmath.workdps(DIGITS):
        roots = [mpmath.eig(reference(step, j))[0] for j in range(len(step.q))]
        radii = [max(abs(root) for root in pair) for pair in roots]
        exact = np.array([float(mpmath.log(radius)) if radius > 0 else -np.inf for radius in radii])
        apart = np.array([float(abs(pair[0] - pair[1])) for pair in roots])
    with np.errstate(all="ignore"):
        found = log_radius(step)
    # a double root is as sensitive as the square root of the rounding
    np.testing.assert_allclose(np.exp(found), np.exp(exact), rtol=3e-8, atol=3e-8)
    far = (apart > 1e-2) & (exact > -10)
    np.testing.assert_allclose(found[far], exact[far], rtol=1e-11, atol=1e-14)
    small = (step.ahead > 0) & (product(step) < 1e-5 * step.lost**2) & (exact > -10)
    np.testing.assert_allclose(found[small], exact[small], rtol=1e-12, atol=0)


def test_powers_of_any_leading_shape_and_of_the_array_standard_alone(strict: Backend) -> None:
    """(step sizes, condition numbers, directions)."""
    q, delta = np.broadcast_arrays(np.ones((3, 1, 4)) * [0.1, 0.2, 0.5, 0.9], np.array([[0.1], [0.4]]))
    step = weights(q, (1 - delta) ** 2, delta * (2 - delta), 0 * q, None, np.ones(4))
    whole = power(step, 17)
    assert isinstance(whole, Power) and whole.a.shape == (3, 2, 4)
    there = Weights(*(strict.asarray(np.array(each)) for each in step))
    for name in (lambda s: power(s, 17), lambda s: accumulated(s, 9)):
        for one, other in zip(name(there), name(step), strict=True):
            np.testing.assert_allclose(to_host(one), other, rtol=1e-12)
    np.testing.assert_allclose(to_host(log_radius(there)), log_radius(step), rtol=1e-12)


def test_noise_settles_where_the_map_keeps_it() -> None:
    """Q_K = S - M^K S M^K' with S the fixed point, here found by many steps."""
    step = GRIDS["ahead"]
    with np.errstate(all="ignore"):
        calm = np.exp(log_radius(step)) < 0.99
        chosen = Weights(*(each[calm] for each in step))
        limit = accumulated(chosen, 10**5)
    again = plus(through(power(chosen, 1), limit), accumulated(chosen, 1))
    np.testing.assert_allclose(np.array(again), np.array(limit), rtol=1e-12, atol=1e-16)
    assert isinstance(limit, Second) and calm.sum() > 20
