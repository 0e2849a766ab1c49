"""A violated bound: the run alone shows it again, shrinking keeps the violation and loses the rest, files are read with care."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.backend import CPU, Backend
from theorysim.check import check
from theorysim.counterexample import replay, shrink, smallest
from theorysim.findings import Finding
from theorysim.lab import Lab
from theorysim.model import Algorithm, Cell, Control, Paper, Problem, Spec, TheorysimError
from theorysim.noise import Draws
from theorysim.ratios import against_bound
from theorysim.reductions import fewer, rounder, simpler, simpler_algorithm
from theorysim.registry import ALGORITHMS, PAPERS, PROBLEMS, algorithm, claim, problem
from theorysim.report import claim_text, save_report
from theorysim.reproducer import Counterexample, from_json, from_reproducer, load_counterexample
from theorysim.run import run, run_cell
from theorysim.trace import Trace

CONVEX = "2*(D_inf/(2*eta) + eta/D_inf)**2*L_infnorm*D_inf**2/T"  # wrong: the theorem has L_1norm
WHERE = {"D_inf": "max_distance:inf", "eta": "lr"}
ADAGRAD = algorithm("average", of=algorithm("adagrad", lr=["0.2*D_inf_0", "D_inf_0/sqrt(2)"]))
ANY = problem("anisotropic_quadratic", dim=40, decay=0.0, start="uniform", low=0.5, noise=0.0)


def wrong_convex(what: Spec = ANY, steps: int = 25, method: Spec = ADAGRAD, **options: Any) -> tuple[Trace, dict[str, Any]]:
    """A run of four seeds, and the reproducer of the wrong theorem."""
    settings = {"runs": 4, "record": "all", "measure": ("gap", "max_distance:inf")} | options
    trace = run(what, method, steps, device="cpu", **settings)
    reproducer = bound_ratio([trace], of="gap", bound=CONVEX, where=WHERE, label="ratio").reproducer
    assert reproducer is not None
    return trace, dict(reproducer)


def of(bound: str, what: Spec, method: Spec, steps: int, **options: Any) -> dict[str, Any]:
    """The reproducer of gap <= bound."""
    trace = run(what, method, steps, device="cpu", **options)
    reproducer = bound_ratio([trace], of="gap", bound=bound, label="ratio").reproducer
    assert reproducer is not None
    return dict(reproducer)


def found(reproducer: dict[str, Any]) -> Counterexample:
    example = smallest(reproducer, CPU)
    assert example is not None
    return example


# ------------------------------------------------------------------------------------------------ once again
@pytest.mark.parametrize("record", ["all", "log", (1, 2, 5, 19)])
def test_the_run_alone_has_the_ratios_it_had_among_the_others(record: Any) -> None:
    noisy = problem("anisotropic_quadratic", dim=40, decay=0.0, start="lognormal", noise=0.3, rotation="random")
    trace, reproducer = wrong_convex(noisy, record=record, seed=4)
    example = from_reproducer(reproducer)
    again = replay(example, CPU)
    row = int(np.argmax(against_bound(trace, "gap", CONVEX, WHERE).ratio.max(axis=1)))
    there = against_bound(trace, "gap", CONVEX, WHERE)
    shared = there.steps[there.steps <= example.steps]
    assert example.run == trace.runs[row] != 0 and len(shared) > 0
    for name in ("measured", "limit", "ratio"):
        np.testing.assert_allclose(
            getattr(again, name)[shared - 1], getattr(there, name)[row][: len(shared)], rtol=1e-12, err_msg=name
        )
    assert again.violated and again.ratio[-1] == pytest.approx(example.ratio, rel=1e-12)


def test_a_run_that_stopped_at_a_target_is_repeated_without_it() -> None:
    slow = problem("anisotropic_quadratic", dim=6, start="lognormal")
    method = algorithm("gradient_descent", lr=[0.3, 0.9])
    reproducer = of("0.2*Delta_0", slow, method, 300, runs=5, record="all", until=0.05)
    assert reproducer["cell"]["until"] is None and reproducer["cell"]["steps"] < 300
    example = from_reproducer(reproducer)
    assert replay(example, CPU).ratio[-1] == pytest.approx(reproducer["ratio"], rel=1e-12)


def test_another_device_sees_the_same(strict: Backend) -> None:
    example = from_reproducer(wrong_convex()[1])
    here, there = replay(example, CPU), replay(example, strict)
    np.testing.assert_allclose(there.ratio, here.ratio, rtol=1e-12)
    assert there.step == here.step and there.environment != here.environment


# ------------------------------------------------------------------------------------------------ as small as it can be
def plain_adagrad_ratio(dim: int, theta: float, steps: int) -> list[float]:
    """gap(wbar_T) / (2 c^2 L_inf D^2 / T) on a flat spectrum from ones, in plain Python: all coordinates are one number."""
    w, v, total, reach, ratios = 1.0, 0.0, 0.0, 0.0, []
    for t in range(1, steps + 1):
        total, reach = total + w, max(reach, abs(w))
        v += w * w
        w -= theta * w / v**0.5
        c = reach / (2 * theta) + theta / reach
        ratios.append(0.5 * dim * (total / t) ** 2 / (2 * c * c * max(reach, abs(w)) ** 2 / t))
    return ratios


def test_a_wrong_norm_shrinks_to_the_dimension_and_the_step_where_it_begins_to_be_wrong() -> None:
    example = found(wrong_convex()[1])
    theta = 0.5**0.5
    dims = [dim for dim in range(1, 41) if max(plain_adagrad_ratio(dim, theta, 25)) > 1 + 1e-9]
    ratios = plain_adagrad_ratio(dims[0], theta, 25)
    first = next(t for t, ratio in enumerate(ratios, 1) if ratio > 1 + 1e-9)
    assert example.problem == problem("anisotropic_quadratic", decay=0.0, dim=dims[0])
    assert (dims[0], example.steps, example.run, example.seed) == (9, first, 0, 0)
    assert example.ratio == pytest.approx(ratios[first - 1], rel=1e-12) == pytest.approx(9 / 8)
    assert example.minimal and 0 < example.tried <= 300
    assert example.algorithm == algorithm("average", of=algorithm("adagrad", lr="D_inf_0/sqrt(2)"))


@pytest.mark.parametrize("start", ["uniform", "lognormal", "signs"])
@pytest.mark.parametrize("method", ["D_inf_0", "3*D_inf_0"])
def test_no_smaller_dimension_violates(start: str, method: str) -> None:
    """Brute force: the same problem in every smaller dimension, as far as the original run went."""
    what = problem("anisotropic_quadratic", dim=120, decay=0.0, start=start)
    one = algorithm("average", of=algorithm("adagrad", lr=method))
    example = found(wrong_convex(what, 12, one, runs=1)[1])
    dims = []
    for dim in range(1, example.problem.arguments["dim"] + 1):
        smaller_one = problem("anisotropic_quadratic", **{**example.problem.arguments, "dim": dim})
        trace = run(smaller_one, one, example.steps, record="all", measure=("gap", "max_distance:inf"), device="cpu")
        if (against_bound(trace, "gap", CONVEX, WHERE).ratio > 1 + 1e-6).any():
            dims.append(dim)
    assert dims[0] == example.problem.arguments["dim"] < 120
    assert replay(example, CPU).step == example.steps


def test_half_a_bound_shrinks_to_one_step_in_one_dimension() -> None:
    what = problem("anisotropic_quadratic", dim=30, start="signs", noise_law="spectrum", decay=0.0)
    example = found(
        of("lambda_max*D_2_0**2/(4*T)", what, algorithm("average", of=algorithm("gradient_descent", lr="1/lambda_max")), 50)
    )
    assert (example.problem, example.steps) == (problem("anisotropic_quadratic", dim=1), 1)
    assert (example.measured, example.limit) == (0.5, 0.25)
    assert [line.split(":")[0] for line in example.history] == ["problem", "algorithm"]


def test_fewer_dimensions_come_before_fewer_steps() -> None:
    """The gap stays dim/2, so that it passes 20/T after 40/dim steps: at once in dim 50, after 41 steps in dim 1."""
    what, method = problem("anisotropic_quadratic", dim=50, decay=0.0), algorithm("gradient_descent", lr=1e-9)
    assert found(of("20.01/T", what, method, 60, record="all")).steps == 41
    assert found(of("20.01/T", what, method, 60, record="all")).problem.arguments == {"dim": 1}
    short = found(of("20.01/T", what, method, 15, record="all"))
    assert (short.steps, short.problem.arguments["dim"]) == (14, 3)


def test_steps_that_the_bound_does_not_speak_of_are_not_taken() -> None:
    """At T = 1 the wrong bound is exceeded too, but claimed is T = 7 and T = 20 only."""
    what, method = problem("anisotropic_quadratic", dim=3), algorithm("gradient_descent", lr=1e-3)
    for record, steps in (("last", 20), ((7, 20), 7), ((0, 7, 20), 7), ("all", 1)):
        example = found(of("0.1*Delta_0", what, method, 20, record=record))
        assert example.steps == steps and replay(example, CPU).step == steps
        assert replay(replace(example, steps=20), CPU).step == steps


def test_lists_lose_the_same_entries_and_become_round() -> None:
    """Only the last coordinate is slow enough; its start is the only one that matters."""
    spectrum, start = [1.0, 0.7, 0.31, 0.0123], [0.5, 0.25, -0.125, 87.3]
    what = problem("anisotropic_quadratic", dim=4, spectrum=spectrum, start=start)
    example = found(of("0.9*Delta_0", what, algorithm("gradient_descent", lr="1/lambda_max"), 6))
    kept = example.problem.arguments
    assert kept["dim"] == 2 and len(kept.get("spectrum", (0, 0))) == 2 == len(kept.get("start", (0, 0)))
    fast_and_slow = run(example.problem, example.algorithm, 1, device="cpu")
    assert fast_and_slow["gap"][0, 1] > 0.9 * fast_and_slow["gap"][0, 0]


def test_a_head_left_at_its_default_gives_way_to_the_dimension() -> None:
    """The default head of 8 forbids dim < 9. The bound fails where trace_H > 2.5; that of a power law, H_d, is 1.5 in dim 2."""
    what = problem("anisotropic_quadratic", dim=50, spectrum="head_bulk", start="signs")
    example = found(of("2.5*Delta_0/trace_H", what, algorithm("gradient_descent", lr=1e-6), 5))
    assert example.problem == problem("anisotropic_quadratic", dim=2, head=1, spectrum="head_bulk")


def test_what_the_theorem_prescribes_stays_and_what_the_bound_speaks_of_becomes_round() -> None:
    what = problem("anisotropic_quadratic", dim=5)
    silent = found(of("0.5*Delta_0", what, algorithm("gradient_descent", lr=0.037), 5))
    assert silent.algorithm == algorithm("gradient_descent", lr=0.037)
    trace = run(what, algorithm("adagrad", lr=0.037, eps=0.2), 5, device="cpu")
    bound = {"of": "gap", "bound": "0.5*Delta_0 + 0*eta", "where": {"eta": "lr"}, "label": "ratio"}
    spoken = found(dict(bound_ratio([trace], **bound).reproducer or {}))
    assert spoken.algorithm == algorithm("adagrad", lr=0.0)


def test_the_first_seed_and_the_first_run_that_violate() -> None:
    """Run 0 of seed 0 stays below: the bound is the size of its own start."""
    what, method = problem("anisotropic_quadratic", dim=1, start="lognormal"), algorithm("gradient_descent", lr=1e-6)
    gaps = run(what, method, 1, runs=12, device="cpu", seed=0)["gap"][:, 1]
    limit = float(np.sort(gaps)[-3])
    expected = int(np.argmax(gaps > limit))
    example = found(of(f"{limit!r}", what, method, 3, runs=12))
    assert (example.seed, example.run) == (0, expected) != (0, 0)
    assert example.measured == pytest.approx(gaps[expected], rel=1e-5)


def test_nothing_is_shrunk_that_does_not_violate() -> None:
    example = from_reproducer(wrong_convex()[1])
    right = replace(example, bound=CONVEX.replace("L_infnorm", "L_1norm"))
    with pytest.raises(TheorysimError, match="is not exceeded by T=.*nothing to shrink"):
        shrink(right, CPU)
    assert not replay(right, CPU).violated
    reproducer = wrong_convex()[1] | {"bound": right.bound}
    assert smallest(reproducer, CPU) is None
    assert smallest(None, CPU) is None and smallest({"cell": 1, "why": "another analysis"}, CPU) is None


def test_a_budget_is_kept_and_the_result_violates_all_the_same() -> None:
    reproducer = wrong_convex()[1]
    for budget in (1, 2, 5, 20):
        example = smallest(reproducer, CPU, budget=budget)
        assert example is not None and example.tried <= budget and not example.minimal
        assert replay(example, CPU).step == example.steps
    assert smallest(reproducer, CPU) == smallest(reproducer, CPU)


def test_what_would_take_too_long_is_left_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 steps are too many for any candidate; the example itself is no candidate."""
    ran = []

    def counted(cell: Cell, backend: Backend) -> Trace:
        ran.append(cell.steps)
        return run_cell(cell, backend)

    reproducer = of(
        "0.1*Delta_0", problem("anisotropic_quadratic", dim=3), algorithm("gradient_descent", lr=1e-4), 300, record="last"
    )
    monkeypatch.setattr("theorysim.counterexample.run_cell", counted)
    monkeypatch.setattr("theorysim.counterexample._WORK", 200)
    example = shrink(from_reproducer(reproducer), CPU)
    assert replace(example, tried=0) == replace(from_reproducer(reproducer), minimal=False)
    assert ran == [300] and example.tried == 0


# ------------------------------------------------------------------------------------------------ hard cases
def test_a_finite_violation_stays_finite_and_a_diverging_run_becomes_one() -> None:
    what = problem("anisotropic_quadratic", dim=6, start="uniform")
    wild = of("1e100", what, algorithm("gradient_descent", lr=[0.1, 1e60]), 12, record="all")
    assert wild["ratio"] == np.inf
    example = found(wild)
    assert np.isfinite(example.ratio) and example.ratio > 1 and example.problem.arguments["dim"] == 1
    # A step size for which the gap jumps over everything finite at once: the violation stays one of infinity.
    worse = found(of("1e300", what, algorithm("gradient_descent", lr=1e200), 4, record="all"))
    assert (worse.measured, worse.steps) == (np.inf, 1)
    again = from_json(json.loads(json.dumps(worse.to_json(), allow_nan=False)))
    assert again == worse and replay(again, CPU).violated


def test_a_positive_bound_does_not_shrink_to_a_bound_of_zero() -> None:
    """Without noise this bound is 0, which everything exceeds: that says nothing about the case at hand."""
    what = problem("anisotropic_quadratic", dim=4, noise=0.7)
    example = found(of("1e-3*sigma_1norm", what, algorithm("sgd", lr=0.01), 5))
    assert example.limit > 0 and example.problem.arguments["noise"] > 0


def test_a_plug_in_that_fails_in_its_own_way_at_small_sizes_is_no_smaller_case(monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(draws: Draws, dim: int = 3) -> Problem:
        """A quadratic that cannot be built below dim 5."""
        if dim < 5:
            raise ZeroDivisionError("nobody tried this")
        inner: Problem = PROBLEMS.get("anisotropic_quadratic")(draws, dim=dim)
        return inner

    def brittle(lr: float = 0.1) -> Algorithm:
        """Gradient descent that breaks where the iterate has an odd size."""
        inner: Algorithm = ALGORITHMS.get("gradient_descent")(lr)

        def init(what: Problem, x0: Any) -> Any:
            if what.shape[0] % 2:
                raise IndexError("odd")
            return inner.init(what, x0)

        return replace(inner, init=init)

    monkeypatch.setitem(PROBLEMS._found, "fragile", fragile)
    monkeypatch.setitem(ALGORITHMS._found, "brittle", brittle)
    example = found(of("0.5*Delta_0", problem("fragile", dim=32), algorithm("brittle", lr=0.001), 4))
    assert example.problem == problem("fragile", dim=6)


# ------------------------------------------------------------------------------------------------ reductions
@pytest.mark.parametrize("number", [1, 2, 5, 16, 17, 18, 33, 1000, 10**6])
def test_fewer_is_below_and_goes_up(number: int) -> None:
    less = list(fewer(number))
    assert less == sorted(set(less)) and all(1 <= each < number for each in less) and len(less) < 40
    assert number == 1 or (less[0] == 1 and less[-1] == number - 1)


@pytest.mark.parametrize("number", [0.0, 1.0, -1.0, 10.0, 0.71, -3.14159, 2.5e-7, 123456.0, 5e-324, 1.7e308, float("inf")])
def test_rounder_numbers_end(number: float) -> None:
    seen, now = [number], rounder(number)
    assert number not in now
    while now:  # always taking the least simplification
        assert now[-1] not in seen
        seen.append(now[-1])
        now = rounder(now[-1])
    assert seen[-1] == 0.0 or number == float("inf")


def test_rounder_numbers_are_the_simplest_first() -> None:
    assert rounder(0.7213) == [0.0, 1.0, -1.0, 0.7, 0.72, 0.721]
    assert rounder(-123456) == [0.0, 1.0, -1.0, -1e5, -1.2e5, -1.23e5]
    assert rounder(10) == [0.0, 1.0, -1.0] == rounder(-0.01) and rounder(0) == []


def test_simpler_problems_lose_one_parameter_at_a_time() -> None:
    what = problem("anisotropic_quadratic", dim=3, start="uniform", noise=[0.5, 1.0, 2.0], batch=4)
    specs = [spec for spec, _ in simpler(what)]
    assert problem("anisotropic_quadratic", start="uniform", noise=[0.5, 1.0, 2.0], dim=3) in specs
    assert problem("anisotropic_quadratic", dim=3, start="uniform", noise=[1.0, 1.0, 1.0], batch=4) in specs
    assert problem("anisotropic_quadratic", dim=3, start="uniform", noise=[0.5, 1.0, 1.0], batch=4) in specs
    assert all(spec.arguments.get("batch", 4) == 4 for spec in specs)  # integers are a matter of size
    inside = algorithm("average", of=algorithm("adagrad", lr=0.37, eps=0.01, box=2.0))
    switched = [spec.arguments["of"].arguments for spec, _ in simpler_algorithm(inside, {"eps"})]
    assert {"lr": 0.37, "box": 2.0} in switched and {"lr": 0.37, "eps": 0.01} in switched
    assert all(each["lr"] == 0.37 for each in switched) and {"eps": 1.0, "lr": 0.37, "box": 2.0} in switched


# ------------------------------------------------------------------------------------------------ files
def test_json_gives_the_example_back(tmp_path: Path) -> None:
    for example in (from_reproducer(wrong_convex()[1]), found(wrong_convex()[1])):
        text = json.dumps(example.to_json(), allow_nan=False)
        assert from_json(json.loads(text)) == example
        (tmp_path / "some.json").write_text(text)
        assert load_counterexample(tmp_path / "some.json") == example


def test_a_folder_with_one_counterexample_stands_for_it(tmp_path: Path) -> None:
    example = from_reproducer(wrong_convex(steps=2)[1])
    folder = tmp_path / "counterexamples"
    folder.mkdir()
    with pytest.raises(TheorysimError, match="holds 0 counterexamples, not one: none; name the file"):
        load_counterexample(tmp_path)
    for name in ("one", "two"):
        (folder / f"{name}.json").write_text(json.dumps(example.to_json()))
        if name == "one":
            assert load_counterexample(tmp_path) == load_counterexample(folder) == example
    with pytest.raises(TheorysimError, match="holds 2 counterexamples, not one: .*one.json, .*two.json; name the file"):
        load_counterexample(folder)


def change(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *way, last = path.split(".")
    place = data
    for key in way:
        place = place[key]
    place[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", 2, "has counterexample format 2, this version reads 1"),
        ("steps", 0, "counterexample.steps is '0', not a whole number of at least 1"),
        ("run", -1, "counterexample.run is '-1', not a whole number of at least 0"),
        ("seed", True, "counterexample.seed is 'True', not a whole number"),
        ("measured", None, "counterexample.measured is 'None', not a number"),
        ("claimed", [], "counterexample.claimed is '[]', not a step or a list of steps"),
        ("claimed", [3, 0], "not a step or a list of steps"),
        ("problem.name", "anisotropic_quadratc", "no problem named 'anisotropic_quadratc'; did you mean anisotropic_quadratic"),
        ("problem.params.dimm", 3, "no parameter of problem anisotropic_quadratic named 'dimm'; did you mean dim"),
        ("algorithm.name", "averag", "no algorithm named 'averag'; did you mean average"),
        ("algorithm.params.of.name", "adagrda", "no algorithm named 'adagrda'; did you mean adagrad"),
        ("algorithm.params.of", {"name": "adagrad"}, "algorithm has no 'kind'"),
        ("algorithm.kind", "problem", "average is a problem where a algorithm must stand"),
        ("of", "gapp", "no measure named 'gapp'"),
        ("bound", "__import__('os')", "is not an arithmetic expression"),
        ("where.eta", [1.0], "eta stands for [1.0]"),
        ("slack", -1, "counterexample.slack is '-1', not a number of at least 0"),
        ("slack", "nan", "counterexample.slack is 'nan', not a number of at least 0"),
        ("where", 3, "counterexample.where is '3', which has the wrong type"),
    ],
)
def test_a_damaged_file_is_refused_with_a_sentence(path: str, value: Any, message: str, tmp_path: Path) -> None:
    data = change(from_reproducer(wrong_convex(steps=2)[1]).to_json(), path, value)
    (tmp_path / "some.json").write_text(json.dumps(data))
    with pytest.raises(TheorysimError) as error:
        load_counterexample(tmp_path / "some.json")
    assert message in str(error.value) and str(tmp_path / "some.json") in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{broken", "cannot be read"), (b"\xff\xfe", "cannot be read"), (b"[1]", "format None"), (None, "there is no file")],
)
def test_what_is_no_counterexample_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "some.json").write_bytes(content)
    with pytest.raises(TheorysimError, match=message):
        load_counterexample(tmp_path / "some.json")


# ------------------------------------------------------------------------------------------------ from a claim to a file
PAPER = Paper("wrong_paper", "Half a Bound", "A. Author", 2033, "Journal of Errors", "@article{wrong2033}")
HALF = Control({"factor": 0.01}, "a hundredth is worse still")


def half_a_bound(lab: Lab, factor: float = 0.5) -> Finding:
    """Gradient descent stays below half of its bound."""
    what = problem("anisotropic_quadratic", dim=30, start="lognormal", decay=0.0)
    cell = Cell(what, algorithm("gradient_descent", lr=["0.1/lambda_max", "1e-3/lambda_max"]), 40, lab.runs(3), record="all")
    return bound_ratio([lab.run(cell)], of="gap", bound=f"{factor}*lambda_max*D_2_0**2/T", label="gap / bound")


def test_a_violated_claim_leaves_a_file_that_shows_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PAPERS, "_found", dict(PAPERS._found))
    claim(PAPER, source="Theorem 0", kind="upper", statement="f \\le 0", controls=[HALF])(half_a_bound)
    report = check("wrong_paper", device="cpu")
    (violated,) = report.claims
    assert report.exit_code == 1 and violated.counterexample == smallest(violated.finding.reproducer, CPU)
    save_report(report, tmp_path)
    example = load_counterexample(tmp_path)
    assert example == load_counterexample(tmp_path / "counterexamples" / "half_a_bound.json") == violated.counterexample
    assert (example.problem, example.run) == (problem("anisotropic_quadratic", dim=1), 0)
    assert replay(example, CPU).step == example.steps
    assert "counterexamples/half_a_bound.json: " in claim_text(violated).plain


def test_a_reproducer_that_is_none_is_refused() -> None:
    good = wrong_convex(steps=2)[1]
    with pytest.raises(TheorysimError, match="reproducer has no 'step'"):
        from_reproducer({key: value for key, value in good.items() if key != "step"})
    with pytest.raises(TheorysimError, match="one run, not 4"):
        from_reproducer(good | {"cell": good["cell"] | {"runs": 4}})
