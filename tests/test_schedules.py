"""Step-size schedules by their names."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from theorysim.model import TheorysimError
from theorysim.schedules import eigencurve, schedule, stages


def test_a_cosine_rises_linearly_and_falls_to_its_floor():
    s = schedule("cosine:400,0.1,0.02")
    assert [s(1), s(20), s(40)] == [1 / 40, 0.5, 1.0]
    assert math.isclose(s(220), 0.51) and math.isclose(s(310), 0.02 + 0.98 * (1 - math.sqrt(0.5)) / 2)
    assert s(400) == s(401) == s(10**6) == 0.02
    factors = [s(t) for t in range(40, 401)]
    assert all(late < early for early, late in itertools.pairwise(factors))


def test_parts_of_a_cosine_may_be_left_out():
    wave = [(2 + math.sqrt(2)) / 4, 0.5, (2 - math.sqrt(2)) / 4, 0.0, 0.0]
    assert [schedule("cosine:4")(t) for t in range(1, 6)] == pytest.approx(wave)
    assert schedule("cosine:4")(4) == 0.0 == schedule("cosine:10,0.5")(10)
    assert schedule("cosine:30,0.1")(3) == schedule("cosine:10,0.7")(7) == 1.0
    assert schedule("cosine:5,0.1,0.3")(5) == pytest.approx(0.3)  # a tenth of 5 steps is none


def test_a_horizon_shorter_than_the_warmup_allows_is_no_division_by_zero():
    assert all(0 <= schedule("cosine:1,0.9,0.5")(t) <= 1 for t in (1, 2, 3))


def test_a_step_decay_divides_at_every_stage():
    assert [schedule("step_decay:4,3")(t) for t in range(1, 9)] == [1.0] * 3 + [0.25] * 3 + [1 / 16] * 2
    assert list(stages("step_decay:4,3", 8)) == [(1.0, 3), (0.25, 3), (1 / 16, 2)]


def test_the_last_stage_of_a_step_decay_lasts_if_there_is_one():
    assert [schedule("step_decay:4,3,2")(t) for t in (1, 3, 4, 6, 7, 10**9)] == [1.0, 1.0, 0.25, 0.25, 0.25, 0.25]
    assert list(stages("step_decay:4,3,2", 10**12)) == [(1.0, 3), (0.25, 10**12 - 3)]
    assert list(stages("step_decay:4,3,2", 4)) == [(1.0, 3), (0.25, 1)]
    assert list(stages("step_decay:4,3,1", 9)) == [(1.0, 9)]


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("linear:4", [1, 3 / 4, 1 / 2, 1 / 4, 0, 0]),
        ("polynomial:4,2", [1, 9 / 16, 1 / 4, 1 / 16, 0, 0]),
        ("polynomial:4,0.5", [1, math.sqrt(3) / 2, math.sqrt(0.5), 1 / 2, 0, 0]),
        ("cosine_decay:4", [1, (2 + math.sqrt(2)) / 4, 1 / 2, (2 - math.sqrt(2)) / 4, 0, 0]),
        ("inverse_time:0.5", [1, 2 / 3, 1 / 2, 2 / 5, 1 / 3, 2 / 7]),
        ("inverse_time:0", [1, 1, 1, 1, 1, 1]),
        ("inverse_sqrt", [1, 1 / math.sqrt(2), 1 / math.sqrt(3), 1 / 2, 1 / math.sqrt(5), 1 / math.sqrt(6)]),
        # mu = 1, L = 4; s = 1, 4, 4 of sqrt 1, 2, 2: segments of 1, 2, 2 steps, 1/eta = 4 + t, then 5 + 2 (t - 1), 9 + 4 (t - 3)
        ("eigencurve:5,4,1,4,4", [1, 4 / 5, 4 / 7, 4 / 9, 4 / 13, 4 / 17]),
        # a bin without eigenvalues takes no steps: 1/eta = 4 + t on [0, 2.5), then 6.5 + 4 (t - 2.5)
        ("eigencurve:5,4,1,0,1", [1, 4 / 5, 4 / 6, 4 / 8.5, 4 / 12.5, 4 / 16.5]),
    ],
)
def test_factors_by_hand(name, factors):
    assert [schedule(name)(t) for t in range(1, 7)] == pytest.approx(factors, rel=1e-14, abs=0)


def test_a_cosine_decay_is_a_cosine_one_step_later():
    assert [schedule("cosine_decay:9")(t + 1) for t in range(1, 12)] == [schedule("cosine:9")(t) for t in range(1, 12)]


def test_an_eigencurve_is_written_from_the_spectrum():
    """Bins [mu, 2 mu), [2 mu, 4 mu), ...; a power of 2 is the lower end of one, L is in the last; the order does not matter."""
    assert eigencurve(7, [8.0, 1.0, 1.9, 2.0, 3.0, 5.0]) == "eigencurve:7,8.0,2,2,1,1"
    assert eigencurve(7, np.array([0.3, 0.1])) == f"eigencurve:7,{0.3 / 0.1!r},1,1"
    assert eigencurve(7, [2.0, 2.0]) == "eigencurve:7,1.0,2"
    powers = 1024 ** (-np.arange(11) / 10)
    assert (np.log2(powers / powers[-1]) < np.arange(11)[::-1]).any()  # by rounding
    assert eigencurve(7, powers).split(",")[2:] == ["1"] * 11
    for eigenvalues in ([1.0, 0.0], [1.0, -2.0], [1.0, math.nan]):
        with pytest.raises(TheorysimError, match="eigenvalue"):
            eigencurve(7, eigenvalues)
    with pytest.raises(TheorysimError, match="got none"):
        eigencurve(7, [])
    with pytest.raises(TheorysimError, match="steps=0"):
        eigencurve(0, [1.0])


def test_variances_of_sgd_under_each_schedule():
    """Exact variances in units d sigma^2 / (2 T) for a log spectrum with kappa = 100, as derived for the paper on step decay."""
    lam, T = 100.0 ** (-np.arange(32) / 31), 2**14
    known = {
        "constant": 2642,
        "inverse_time:0.01": 11.5,
        "inverse_sqrt": 14.5,
        f"step_decay:2,{T // 18},18": 3.258,
        f"cosine_decay:{T}": 10.4,
        f"linear:{T}": 22.5,
        eigencurve(T, lam): 1.952,
    }
    factors = np.array([[s for s, n in stages(name, T) for _ in range(n)] for name in known])
    assert factors.shape == (7, T)
    second = np.zeros((7, 32))
    for eta in factors.T[:, :, None]:
        second = (1 - eta * lam) ** 2 * second + eta**2 * lam
    found = (lam * second).sum(axis=1) * T / 32
    np.testing.assert_allclose(found, list(known.values()), rtol=4e-3)


def test_decays_against_optax():
    optax = pytest.importorskip("optax")
    for name, other in {
        "linear:40": optax.linear_schedule(1.0, 0.0, 40),
        "polynomial:40,1.7": optax.polynomial_schedule(1.0, 0.0, 1.7, 40),
        "cosine_decay:40": optax.cosine_decay_schedule(1.0, 40),
        "step_decay:4,13,3": optax.piecewise_constant_schedule(1.0, {13: 0.25, 26: 0.25}),
    }.items():
        mine = [schedule(name)(t) for t in range(1, 60)]
        assert mine == pytest.approx([float(other(t - 1)) for t in range(1, 60)], rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize(
    "name",
    [
        "constant",
        "inverse_sqrt",
        "cosine:9,0.3,0.1",
        "step_decay:1.5,4",
        "step_decay:1.5,4,2",
        "linear:5",
        "linear:4",
        "polynomial:9,3",
        "cosine_decay:5",
        "inverse_time:0.7",
        "eigencurve:11,5,1,2,3",
    ],
)
@pytest.mark.parametrize("steps", [0, 1, 4, 5, 17])
def test_stages_are_the_steps_in_order(name, steps):
    unrolled = [factor for factor, length in stages(name, steps) for _ in range(length)]
    assert unrolled == [schedule(name)(t) for t in range(1, steps + 1)]


def test_stages_of_a_long_run_are_few():
    assert list(stages("constant", 10**12)) == [(1.0, 10**12)]
    assert len(list(stages("step_decay:2,1000000000", 10**10))) == 10
    assert len(list(stages("step_decay:2,1000000000,3", 10**12))) == 3
    for name in ("linear:5", "cosine_decay:5", "polynomial:5,2", "cosine:6"):
        assert list(stages(name, 10**12))[5:] == [(0.0, 10**12 - 5)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cosine", "cannot be read; write cosine:HORIZON,WARMUP,FLOOR, for instance cosine:400,0.1,0.02"),
        ("cosine:", "cannot be read"),
        ("cosine:400,0.1,0.02,7", "cannot be read"),
        ("cosine:long", "cannot be read"),
        ("cosine:400,1.0", r"the warm-up is a share in \[0, 1\)"),
        ("cosine:400,-0.1", r"the warm-up is a share in \[0, 1\)"),
        ("cosine:400,nan", r"the warm-up is a share in \[0, 1\)"),
        ("cosine:400,0.1,2", r"the floor one in \[0, 1\]"),
        ("cosine:0", "the horizon of schedule='cosine:0'=0.0 is not allowed"),
        ("cosine:2.5", "is not a whole number"),
        ("cosine:inf", "is not a whole number"),
        (
            "exponential",
            "schedule='exponential' is not allowed; choose one of constant, inverse_sqrt, inverse, inverse_time:A, linear:T",
        ),
        ("inverse:3", "schedule='inverse:3' is not allowed"),
        ("linear", "cannot be read; write linear:T, for instance linear:400"),
        ("linear:4,2", "cannot be read; write linear:T"),
        ("linear:0", "the horizon of schedule='linear:0'=0.0 is not allowed"),
        ("polynomial:4", "cannot be read; write polynomial:T,P, for instance polynomial:400,2"),
        ("polynomial:4,0", "the power of schedule='polynomial:4,0'=0.0 is not allowed"),
        ("polynomial:4.5,1", "is not a whole number"),
        ("cosine_decay:4,0.1", "cannot be read; write cosine_decay:T"),
        ("cosine_decay:-4", "is not allowed; give an integer of at least 1"),
        ("inverse_time:", "cannot be read; write inverse_time:A"),
        ("inverse_time:-1", "the slope of schedule='inverse_time:-1'=-1.0 is not allowed"),
        ("inverse_time:nan", "is not finite"),
        ("eigencurve:10,4", "cannot be read; write eigencurve:T,KAPPA,S_0,S_1,..., for instance eigencurve:1000,5,7,2,1"),
        ("eigencurve:10,4,1,1", "kappa=4 has 3 bins.*schedules.eigencurve write the text"),
        ("eigencurve:10,4,1,1,1,1", "kappa=4 has 3 bins"),
        ("eigencurve:10,4,1,-1,1", "one count of at least 0 for each"),
        ("eigencurve:10,4,0,0,0", "not all 0"),
        ("eigencurve:10,4,1,nan,1", "one count of at least 0"),
        ("eigencurve:10,0.5,1", "kappa is at least 1"),
        ("eigencurve:10,inf,1", "is not finite"),
        ("eigencurve:0,1,1", "the horizon of"),
        ("step_decay:2,5,0", "the number of stages of schedule='step_decay:2,5,0'=0.0 is not allowed"),
        ("step_decay:2,5,3,1", "cannot be read"),
        ("step_decay", "cannot be read; write step_decay:C,K,N, for instance step_decay:2,71 or step_decay:2,71,14"),
        ("step_decay:2", "cannot be read"),
        ("step_decay:1,5", "divides by a finite C > 1"),
        ("step_decay:nan,5", "divides by a finite C > 1"),
        ("step_decay:2,2.5", "is not a whole number"),
        ("step_decay:2,0", "the stage length of schedule='step_decay:2,0'=0.0 is not allowed"),
    ],
)
def test_refused_schedules(name, words):
    with pytest.raises(TheorysimError, match=words):
        schedule(name)
