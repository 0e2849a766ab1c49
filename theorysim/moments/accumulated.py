"""What noise of variance 1 leaves behind in a stage of equal steps: Q_K = sum_{i < K} M^i b b' M^i', b = (eta, kappa).

Three ways of one sum, each where it keeps its digits [derived]:

- what has settled: Q_K = S - M^K S M^K' with the stationary S = M S M' + b b', where M^K has become small;
- a slow direction: M^i b = u z_1^i + v z_2^i as geometric series, where the real roots z_1 and z_2 are apart and z_2^K is small;
- all others, which takes few steps or has two slow roots: doubling over the binary digits of K, which adds and never subtracts.
"""

from __future__ import annotations

from theorysim.backend import namespace
from theorysim.model import Array
from theorysim.moments.stage import Power, Second, Weights, plus, power, product, slow_root, through, upright

_SETTLED = 4.0  # half-lives or so: M^K S M^K' is then a small part of S
_APART = 0.1  # of the distance of the roots from 1: below it u and v cancel by more than a few digits


def accumulated(step: Weights, whole: Power, steps: int) -> Second:
    """The second moments of what ``steps`` kicks of variance 1 leave behind; ``whole`` is M^steps."""
    xp, lost = namespace(step.q), step.lost
    kick = Second(step.lr**2, step.lr * step.push, step.push**2)
    if steps < 2:
        return kick if steps else Second(*[xp.zeros_like(step.q)] * 3)
    _, determined, discriminant = upright(product(step), lost)
    slow, distance = slow_root(determined, lost, discriminant), xp.sqrt(xp.abs(discriminant))
    settled = 2 * steps * xp.where(discriminant < 0, slow, lost / 2) > _SETTLED
    limit = stationary(step)
    left = through(whole, limit)
    total = Second(*(one - other for one, other in zip(limit, left, strict=True)))
    apart = ~settled & (discriminant < 0) & (distance > _APART * (lost + determined)) & (steps * distance > _SETTLED)
    for chosen, others in ((apart, _series_sums), (~settled & ~apart, _doubled)):
        if xp.any(chosen):
            part = others(Weights(*(each[chosen] for each in step)), steps)
            for entry, values in zip(total, part, strict=True):
                entry[chosen] = values
    return total


def stationary(step: Weights) -> Second:
    """S = M S M' + b b', the moments that unit noise keeps up: without meaning where M does not converge.

    With p the trace and d the determinant of M, g = (M - p/2 I) b and N = det(I - M) det(I + M): S_xy N (1 - d) is

        b_x b_y (4 (1 + d) - p^2 (3 - d))/4 + g_x g_y (1 + d) + (b_x g_y + g_x b_y) p (1 - d)/2,

    written without the cancellation of p against d.
    """
    lost, determined = step.lost, product(step)
    total = lost + determined
    both = (2 * determined + lost * total - total**2 * (2 + lost) / 4, 2 - lost, (2 - total) * lost / 2)
    scale = determined * (4 - 2 * lost - determined) * lost
    scale = namespace(lost).where(scale == 0, 1.0, scale)
    b, g = _parts(step)
    entries = [(b[i] * b[j], g[i] * g[j], b[i] * g[j] + g[i] * b[j]) for i, j in ((0, 0), (0, 1), (1, 1))]
    return Second(*((both[0] * bb + both[1] * gg + both[2] * bg) / scale for bb, gg, bg in entries))


def _parts(step: Weights) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """b and (M - (trace M / 2) I) b."""
    half = (step.friction + step.kick * step.ahead - step.q) / 2
    along = half * step.lr + (1 - step.q * step.ahead) * step.push
    return (step.lr, step.push), (along, -step.kick * step.lr - half * step.push)


def _series_sums(step: Weights, steps: int) -> Second:
    """By the series of z_1^2, z_1 z_2 and z_2^2, for real roots that are apart."""
    xp, lost = namespace(step.q), step.lost
    negative, determined, discriminant = upright(product(step), lost)
    slow, distance = slow_root(determined, lost, discriminant), xp.sqrt(-discriminant)
    b, g = _parts(step)
    factor = xp.where(negative, -1 / distance, 1 / distance)  # (-M)^i b has the same squares
    fast = slow + distance
    first, both, second = _series(slow * (2 - slow), steps), _series(lost, steps), _series(fast * (2 - fast), steps)
    found = []
    for i, j in ((0, 0), (0, 1), (1, 1)):
        bb, gg, bg = b[i] * b[j], factor**2 * g[i] * g[j], factor * (b[i] * g[j] + g[i] * b[j])
        found.append((bb / 4 + gg) * (first + second) + bg / 2 * (first - second) + (bb / 2 - 2 * gg) * both)
    return Second(*found)


def _series(less: Array, steps: int) -> Array:
    """sum_{i < steps} (1 - less)^i; the ratio may be negative."""
    xp = namespace(less)
    log_size = xp.where(less == 1, -xp.inf, xp.log1p(xp.where(less < 1, -less, xp.where(less > 1, less - 2, 0.0))))
    sign = 1.0 if steps % 2 else -1.0
    gone = xp.where(less > 1, 1 + sign * xp.exp(steps * log_size), -xp.expm1(steps * log_size))
    return xp.where(less == 0, float(steps), gone / xp.where(less == 0, 1.0, less))


def _doubled(step: Weights, steps: int) -> Second:
    """By doubling; holds without curvature too."""
    one = power(step, 1)
    total = kick = Second(step.lr**2, step.lr * step.push, step.push**2)
    done = 1
    for digit in bin(steps)[3:]:
        total, done = plus(through(power(step, done), total), total), 2 * done
        if digit == "1":
            total, done = plus(through(one, total), kick), done + 1
    return total
