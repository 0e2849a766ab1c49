"""A wrong request is one clear line on stderr and exit code 2, with nothing computed and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import theorysim

from theorysim import algorithm
from theorysim.cli_arguments import parse_algorithm, parse_parameters, parse_value
from theorysim.model import Algorithm, TheorysimError
from theorysim.registry import ALGORITHMS

RUN = "run anisotropic_quadratic adagrad"


def refused(words: str, cwd: Path, **extra: str) -> str:
    """The one line of a refusal."""
    done = theorysim(*words.split(), cwd=cwd, **extra)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("Error: "), done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        # names, with the nearest ones
        ("chek", ["No such command 'chek'", "theorysim --help"]),
        ("show adagrdd", ["no problem, algorithm, analysis, measure or paper named 'adagrdd'", "did you mean adagrad"]),
        ("check bowl_papr", ["no paper named 'bowl_papr'", "did you mean bowl_paper"]),
        ("check bowl_paper verdict_paper:holdz", ["no claim of verdict_paper named 'holdz'", "did you mean holds"]),
        ("run anisotropic_quadratc adagrad", ["no problem named", "did you mean anisotropic_quadratic or"]),
        ("run bowl adagrid", ["no algorithm named 'adagrid'", "did you mean adagrad"]),
        (f"{RUN} -p dmi=3", ["no parameter of problem anisotropic_quadratic named 'dmi'", "did you mean dim?"]),
        (f"{RUN} -a lr=L_1nrm/2", ["uses L_1nrm", "L_1norm"]),
        # numbers
        (f"{RUN} -p dim=0", ["dim=0 is not allowed", "at least 1"]),
        (f"{RUN} -p scale=nan", ["scale=nan is not finite"]),
        (f"{RUN} --steps 0", ["steps=0 is not allowed"]),
        ("check --all bowl_paper", ["--all means every paper", "bowl_paper only"]),
        ("check bowl_paper --seeds 0", ["seeds=0 is not allowed"]),
        ("check bowl_paper --seeds 7", ["seeds=7 is not allowed", "give at least 8"]),
        ("check bowl_paper --max-seeds 7", ["max_seeds=7 is not allowed", "give at least 8"]),
        ("check bowl_paper --seeds 8 --max-seeds 16", ["--max-seeds", "give one of them"]),
        # abilities and machines
        ("run bowl gossip", ["gossip needs a problem with 'network'"]),
        ("check bowl_paper --device gpu", ["--device gpu: CuPy", "--device cpu"]),
        # files
        ("report .", ["there is no report in .", "theorysim check PAPER --out DIR"]),
        (f"{RUN} --plot gap.xyz", ["--plot ending='.xyz'", ".pdf, .png, .svg"]),
        (f"{RUN} --csv nowhere/gap.csv", ["cannot write nowhere"]),
        ("run logistic_regression adagrad -p data=nowhere.svm", ["'nowhere.svm'", "readable LIBSVM file"]),
    ],
)
def test_a_wrong_request_is_one_line(words: str, parts: list[str], tmp_path: Path) -> None:
    line = refused(words, tmp_path)
    for part in parts:
        assert part in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"1 1:0.5 2:1\n-1 1:0.3 2:abc\n", ["line 2", "'2:abc'", "index:value"]),
        (b"", ["no samples"]),
    ],
)
def test_a_malformed_libsvm_file_is_named_with_its_line(content: bytes, parts: list[str], tmp_path: Path) -> None:
    (tmp_path / "some.svm").write_bytes(content)
    line = refused("run logistic_regression adagrad -p data=some.svm", tmp_path)
    for part in ["some.svm", *parts]:
        assert part in line


def test_an_out_folder_that_cannot_be_written_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = refused("check bowl_paper --out file/below", tmp_path, BOWL_LOG=str(tmp_path / "log"))
    assert "file/below" in line and "--out" in line
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("content", ['{"format": 99}', "not json"])
def test_a_store_of_another_version_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text(content)
    line = refused("check bowl_paper", tmp_path, THEORYSIM_CACHE=str(tmp_path))
    assert str(tmp_path) in line and "THEORYSIM_CACHE" in line
    assert (tmp_path / "store.json").read_text() == content


def test_a_broken_plugin_is_named(tmp_path: Path) -> None:
    done = theorysim("run", "lost", "sgd", cwd=tmp_path)
    assert done.returncode == 2
    assert "plug-in lost" in done.stderr and "No module named 'simtest_plugin_without_a_file'" in done.stderr
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------------------ words to values
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3e-1", -0.3),
        ("None", None),
        ("true", True),
        ("FALSE", False),
        ("0.1,1", [0.1, 1]),
        ("[0.1, 1]", [0.1, 1]),
        ("[2]", [2]),
        ("2,", [2]),
        ("a,'b,c'", ["a", "b,c"]),
        ("D/sqrt(2)", "D/sqrt(2)"),
        ("Max(a,b), 2", ["Max(a,b)", 2]),
        ("'3'", "3"),
        ('"inf"', "inf"),
        ("[[1,2],[3,4]]", [[1, 2], [3, 4]]),
    ],
)
def test_a_word_becomes_the_value_it_looks_like(text: str, value: object) -> None:
    found = parse_value(text)
    assert found == value and type(found) is type(value)


def test_parameters_are_split_at_the_first_equals_sign_and_wrong_ones_are_named() -> None:
    assert parse_parameters("-p", ["data=a=b.svm", "dim = 3"]) == {"data": "a=b.svm", "dim": 3}
    with pytest.raises(TheorysimError, match="-p 'dim' is no parameter; write -p dim=value"):
        parse_parameters("-p", ["dim"])
    with pytest.raises(TheorysimError, match="-a lr is given twice"):
        parse_parameters("-a", ["lr=1", "lr=2"])


def test_parameters_of_a_nested_algorithm_go_to_the_innermost_that_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrapper(of: Algorithm, lr: float = 1.0, depth: int = 1) -> Algorithm:
        raise NotImplementedError

    monkeypatch.setitem(ALGORITHMS._found, "wrapper", wrapper)
    found = parse_algorithm("wrapper( average(sgd) )", {"lr": 0.1, "depth": 2})
    assert found == algorithm("wrapper", of=algorithm("average", of=algorithm("sgd", lr=0.1)), depth=2)


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("average", r"average wraps another algorithm; write for example 'average\(sgd\)'"),
        ("sgd(adagrad)", "sgd does not wrap another algorithm"),
        ("average(sgd", r"'average\(sgd' is no algorithm"),
        ("average(sdg)", "no algorithm named 'sdg'; did you mean sgd"),
    ],
)
def test_what_cannot_be_nested_is_refused(word: str, complaint: str) -> None:
    with pytest.raises(TheorysimError, match=complaint):
        parse_algorithm(word, {"lr": 1.0})
