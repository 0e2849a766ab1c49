"""Step-size schedules by their names."""

from __future__ import annotations

import itertools
import math

import pytest

from theorysim.model import TheorysimError
from theorysim.schedules import schedule, stages


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


@pytest.mark.parametrize("name", ["constant", "inverse_sqrt", "cosine:9,0.3,0.1", "step_decay:1.5,4"])
@pytest.mark.parametrize("steps", [0, 1, 4, 5, 17])
def test_stages_are_the_steps_in_order(name, steps):
    unrolled = [factor for factor, length in stages(name, steps) for _ in range(length)]
    assert unrolled == [schedule(name)(t) for t in range(1, steps + 1)]


def test_stages_of_a_long_run_are_few():
    assert list(stages("constant", 10**12)) == [(1.0, 10**12)]
    assert len(list(stages("step_decay:2,1000000000", 10**10))) == 10


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
        ("linear", "schedule='linear' is not allowed; choose one of constant, inverse_sqrt, inverse, cosine:HORIZON"),
        ("inverse:3", "schedule='inverse:3' is not allowed"),
        ("step_decay", "cannot be read; write step_decay:C,K, for instance step_decay:2,71"),
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
