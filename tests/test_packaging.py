"""What is declared in setup.cfg against what lies in the folders, and the files that speak of the same version."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import re
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

import theorysim

ROOT = Path(__file__).parent.parent
FOLDERS = ("theorysim", "problems", "analyses", "paper_checks")

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def lines(section: str, option: str) -> list[str]:
    return [line for line in SETUP[section][option].split("\n") if line.strip()]


def distribution(requirement: str) -> str:
    """The name as package indices compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~\[; ]", requirement)[0]).lower()


def package_folders() -> dict[str, Path]:
    """Package name -> folder, as package_dir maps them."""
    mapped = dict(line.split(" = ") for line in lines("options", "package_dir"))
    names = lines("options", "packages")
    return {name: ROOT / mapped.get(name, name.replace(".", "/")) for name in names}


def imported(folders: tuple[str, ...]) -> set[str]:
    """Top-level names of all imports that are neither the standard library's nor ours."""
    found = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module).split(".")[0])
    own = {path.stem for path in (ROOT / "tests").rglob("*.py")}
    return found - set(sys.stdlib_module_names) - own - {"theorysim"}


def test_packages_are_the_folders() -> None:
    folders = {path.parent for folder in FOLDERS for path in (ROOT / folder).rglob("__init__.py")}
    assert set(package_folders().values()) == folders
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_every_file_of_a_package_is_packed() -> None:
    data = {name: lines("options.package_data", name) for name in SETUP["options.package_data"]}
    for name, folder in package_folders().items():
        others = [path.name for path in folder.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc")]
        unpacked = [file for file in others if not any(fnmatch(file, pattern) for pattern in data.get(name, []))]
        assert not unpacked, f"{name}: {unpacked} would not be in the wheel"
    assert all(any(package_folders()[name].glob(pattern)) for name, patterns in data.items() for pattern in patterns)


def test_what_is_imported_is_required() -> None:
    packages = {name: set(map(distribution, found)) for name, found in importlib.metadata.packages_distributions().items()}
    required = {distribution(line) for line in lines("options", "install_requires")}
    extras = {distribution(line) for extra in ("test", "bench") for line in lines("options.extras_require", extra)}
    optional = {distribution(line) for extra in ("pep", "mpi", "cluster") for line in lines("options.extras_require", extra)}
    for name in imported(FOLDERS) - {"cupy", "markupsafe"}:  # an extra, and a part of jinja2
        assert packages[name] & (required | optional), f"{name} is imported and not in install_requires"
    for name in imported(("tests",)) - {"cupy"}:
        assert packages[name] & (required | extras), f"{name} is imported by tests and not in an extra"


def test_every_requirement_has_a_lower_bound() -> None:
    every = lines("options", "install_requires")
    for extra in SETUP["options.extras_require"]:
        every += lines("options.extras_require", extra)
    assert all(re.fullmatch(r"[A-Za-z0-9-]+>=[0-9.]+(; .+)?", line) for line in every), every  # what follows is a platform


def test_pip_needs_no_metadata_besides_setup_cfg() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert text.count("\n") == 3 and text.startswith("[build-system]\n")


def test_all_files_speak_of_one_version() -> None:
    version = theorysim.__version__
    # setuptools reads the version from the source text; anything but a literal would make it import the package
    module = ast.parse((ROOT / "theorysim" / "__init__.py").read_text(encoding="utf-8"))
    assigned = [
        node.value for node in module.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    ]
    assert [ast.literal_eval(value) for value in assigned] == [version]
    assert SETUP["metadata"]["version"] == "attr: theorysim.__version__"
    assert re.search(rf"^version: {re.escape(version)}$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_licence_is_the_one_declared() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert SETUP["metadata"]["license"] == "BSD-3-Clause" and text.startswith("BSD 3-Clause License")
    assert SETUP["metadata"]["author"] in text
    assert "license: BSD-3-Clause" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "file", ["README.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "setup.cfg", "pyproject.toml", ".ci/run"]
)
def test_the_top_level_files_are_there(file: str) -> None:
    assert (ROOT / file).stat().st_size > 0
