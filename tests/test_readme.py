"""The README does what it says: its scripts print what stands below them, and its four files are all that is needed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
SCRIPTS = [(code, BLOCKS[i + 1][1]) for i, (kind, code) in enumerate(BLOCKS) if kind == "python" and not code.startswith("# ")]
FILES = {
    code.split("\n", 1)[0].removeprefix("# "): code.split("\n", 1)[1]
    for kind, code in BLOCKS
    if kind == "python" and code.startswith("# ")
}
COMMANDS = [line for kind, code in BLOCKS if kind == "sh" for line in code.splitlines()]


def python(*words: str, cwd: Path, root: Path = ROOT) -> str:
    """What ``python words`` prints, with the package of ``root``."""
    environment = {"PYTHONPATH": str(root), "MPLBACKEND": "Agg", "THEORYSIM_CACHE": str(cwd / "cache")}
    done = subprocess.run([sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the README's four files in it."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in ("theorysim", "problems", "analyses", "paper_checks", "tests"):
        shutil.copytree(ROOT / folder, copy / folder)
    for file in ("setup.cfg", "README.md"):
        shutil.copy(ROOT / file, copy)
    for name, code in FILES.items():
        assert not (copy / name).exists() and (copy / name).parent.is_dir()
        (copy / name).write_text(code, encoding="utf-8")
    return copy


def test_there_is_one_file_of_each_kind() -> None:
    assert sorted(str(Path(name).parent) for name in FILES) == ["analyses", "paper_checks", "problems", "theorysim/algorithms"]


@pytest.mark.parametrize(("code", "output"), SCRIPTS)
def test_scripts_print_what_stands_below_them(code: str, output: str, tmp_path: Path) -> None:
    assert len(code.splitlines()) <= 15
    assert python("-c", code, cwd=tmp_path) == output
    assert (tmp_path / "dimension.png").stat().st_size > 10_000


def test_new_files_are_listed_and_usable(checkout: Path) -> None:
    listed = python("-m", "theorysim", "list", cwd=checkout, root=checkout)
    assert all(Path(name).stem in listed for name in FILES)
    swept = "ts.sweep('pseudo_huber', 'sign_descent', {'dim': [2, 5]}, ts.largest(), steps=9)"
    code = f"import theorysim as ts; print({swept}.values[:, 0])"
    # 2 and 5 coordinates of sqrt(1 + 3^2) - 1, the start
    assert python("-c", code, cwd=checkout, root=checkout) == "[ 4.32455532 10.8113883 ]\n"


def test_a_new_paper_is_checked(checkout: Path) -> None:
    text = python("-m", "theorysim", "check", "smooth_descent", cwd=checkout, root=checkout)
    assert "CONSISTENT" in text and "VIOLATED, as it must" in text
    assert (checkout / "theorysim-report" / "smooth_descent" / "report.html").is_file()


def test_new_files_meet_the_contracts_and_the_rules(checkout: Path) -> None:
    names = " or ".join(Path(name).stem for name in FILES)
    words = ("-m", "pytest", "-q", "-k", names, "tests/test_problems.py", "tests/test_layers.py")
    text = python(*words, cwd=checkout, root=checkout)
    assert int(re.search(r"(\d+) passed", text).group(1)) > 20  # type: ignore[union-attr]


def test_what_is_linked_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links and not [link for link in links if "//" not in link and not (ROOT / link).is_file()]


def test_the_two_commands_need_nothing_but_python() -> None:
    check, tests = COMMANDS[:2]
    assert check.startswith("python3 -m venv .venv && ") and check.endswith("theorysim check adagrad_anisotropic")
    assert tests.startswith("python3 -m venv .venv-test && ") and "pytest" in tests


@pytest.mark.parametrize("command", [line for line in COMMANDS[2:] if " check " not in line])
def test_commands_of_the_shell_work(command: str, tmp_path: Path) -> None:
    program, *words = shlex.split(command)
    assert program == "theorysim"
    assert python("-m", "theorysim", *words, cwd=tmp_path)


@pytest.mark.parametrize("command", [line for line in COMMANDS[2:] if " check " in line])
def test_options_of_check_exist(command: str, tmp_path: Path) -> None:
    help_text = python("-m", "theorysim", "check", "--help", cwd=tmp_path)
    assert all(word in help_text for word in shlex.split(command) if word.startswith("--"))
