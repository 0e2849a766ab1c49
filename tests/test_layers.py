"""The rules of the house that a machine can read off the syntax trees: layers, names, sizes."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from theorysim.registry import ALGORITHMS, ANALYSES, PAPERS, PROBLEMS, Registry

ROOT = Path(__file__).parent.parent

# The engine in the order of its layers: a module imports earlier ones only.
ENGINE = [
    "findings",
    "model",
    "agents",
    "validation",
    "folders",
    "syntax",
    "backend",
    "matrix_functions",
    "matrix_iterations",
    "norms",
    "accumulator",
    "registry",
    "bounds",
    "schedules",
    "gossip",
    "noise_gpu",
    "vector_units",
    "noise_cpu",
    "noise",
    "laws",
    "statistics",
    "rates",
    "rivals",
    "levels",
    "trace",
    "ratios",
    "measures",
    "build",
    "worst_case",
    "oracle",
    "fused",
    "run",
    "distributed",
    "moments",
    "cell_key",
    "store",
    "executors",
    "worker",
    "jobs",
    "traffic",
    "cluster",
    "lab",
    "reductions",
    "reproducer",
    "counterexample",
    "calibration",
    "environment",
    "check",
    "mutation",
    "plan",
    "search_space",
    "tightness",
    "tighten",
    "sweep",
    "report",
    "cli_text",
    "cli_watch",
    "cli_arguments",
    "cli_run",
    "cli_agents",
    "cli_replay",
    "cli_check",
    "cli_calibrate",
    "cli_tighten",
    "cli_selftest",
    "cli",
    "__main__",
]
PACKAGES = ("measures", "fused", "moments", "report", "calibration", "mutation")  # layers that are folders
MATRICES = {"matrix_functions", "matrix_iterations", "norms", "accumulator"}
TOOLS = {"findings", "model", "validation", "backend", "registry", "bounds", "schedules", "noise", "laws", "agents", "gossip"}
TOOLS |= MATRICES
CONTENT = {
    "theorysim/algorithms": TOOLS,
    "problems": TOOLS,
    "analyses": TOOLS | {"statistics", "rates", "rivals", "trace", "ratios", "analyses"},
    "paper_checks": TOOLS | {"statistics", "rates", "trace", "run", "lab", "analyses"},
}
FOLDERS = tuple(Path(folder).name for folder in CONTENT)
REGISTRIES = {"theorysim/algorithms": ALGORITHMS, "problems": PROBLEMS, "analyses": ANALYSES, "paper_checks": PAPERS}

# Methods such as trace.plot() and report.save() reach forward, when they are called.
REACH_FORWARD = {("trace", "report"), ("check", "report"), ("sweep", "report")}

ONLY_IN = {
    "cupy": ("theorysim/backend.py",),
    "sympy": ("theorysim/bounds.py",),
    "matplotlib": ("theorysim/report/",),
    "jinja2": ("theorysim/report/",),
    "click": ("theorysim/cli",),
    "rich": ("theorysim/cli", "theorysim/report/"),
    "dask": ("theorysim/cluster.py",),
    "distributed": ("theorysim/cluster.py",),
    "cloudpickle": ("theorysim/cluster.py",),
    "mpi4py": ("theorysim/distributed.py",),
    "PEPit": ("theorysim/worst_case.py",),
    "cvxpy": ("theorysim/worst_case.py", "problems/_semidefinite.py"),
}

FILES = sorted(path for folder in ("theorysim", "problems", "analyses", "paper_checks") for path in (ROOT / folder).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]
each_file = pytest.mark.parametrize("path", FILES, ids=NAMES)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Every imported module with its full name, and when: at the ``start``, on ``demand`` (in a function), or for ``types``."""
    module = tree(path)
    when = {}
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef):
            when |= dict.fromkeys(ast.walk(node), "demand")
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            when |= dict.fromkeys(ast.walk(node), "types")
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((alias.name, when.get(node, "start")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            deeper = node.module in ("theorysim", *(f"theorysim.{folder}" for folder in FOLDERS))
            yield from (
                (f"{node.module}.{alias.name}" if deeper else str(node.module), when.get(node, "start")) for alias in node.names
            )


def layer(module: str) -> str:
    """``theorysim.report.figures`` -> ``report``; the package itself, asked for its version, -> ``""``."""
    parts = module.split(".")
    return "" if len(parts) == 1 or parts[1] == "__version__" else parts[1]


def ours(path: Path) -> set[tuple[str, str]]:
    return {(module, when) for module, when in imports(path) if module.split(".")[0] == "theorysim"}


def test_every_engine_file_has_its_layer() -> None:
    found = {path.stem for path in (ROOT / "theorysim").glob("*.py")} - {"__init__"}
    assert found | set(PACKAGES) == set(ENGINE)


@each_file
def test_imports_go_one_way(path: Path) -> None:
    folder = str(path.parent.relative_to(ROOT))
    if folder in CONTENT:
        # A private file, _name.py, is shared by the files beside it; else content imports no content.
        package = f"theorysim.{path.parent.name}."
        found = {module for module, _ in ours(path) if not module.startswith(f"{package}_")}
        assert {layer(module) for module in found} <= CONTENT[folder] | {""}
    elif path.name != "__init__.py":
        own = path.parent.name if path.parent.name in PACKAGES else path.stem
        before = {"", own, *ENGINE[: ENGINE.index(own)]}
        for module, when in ours(path):
            late = when != "start" and (own, layer(module)) in REACH_FORWARD
            assert layer(module) in before or late, f"{own} imports {module}"


@each_file
def test_content_goes_by_its_full_name(path: Path) -> None:
    """``import problems`` would work in a checkout only, and load a second copy there."""
    modules = {module for module, _ in imports(path)}
    assert not {module.split(".")[0] for module in modules} & {"algorithms", "problems", "analyses", "paper_checks"}
    assert not [module for module in modules if module.startswith(("theorysim.theorysim", "theorysim.tests"))]


@each_file
def test_heavy_packages_have_one_home(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    for module, when in imports(path):
        homes = ONLY_IN.get(module.split(".")[0], ("",))
        assert when == "types" or name.startswith(homes), f"{module} belongs into {' or '.join(homes)}"


@each_file
def test_only_the_command_line_and_the_report_speak(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    if not name.startswith(("theorysim/cli", "theorysim/report/")):
        calls = {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}
        assert "print" not in calls


@each_file
def test_sizes(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            assert (body[-1].end_lineno or 0) - body[0].lineno + 1 <= 50, f"{node.name} is too long"


@each_file
def test_every_file_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path)) or path.name == "__init__.py"


@pytest.mark.parametrize("path", sorted((ROOT / "theorysim" / "algorithms").glob("*.py")), ids=lambda path: path.stem)
def test_there_is_one_loop(path: Path) -> None:
    """Steps are counted in run.py; an algorithm says what one step does."""
    loops = [ast.unparse(node.iter) for node in ast.walk(tree(path)) if isinstance(node, ast.For | ast.comprehension)]
    assert not [loop for loop in loops if "range(" in loop]
    assert not [node for node in ast.walk(tree(path)) if isinstance(node, ast.While)]


ENTRIES = [(registry, name) for folder, registry in REGISTRIES.items() if folder != "paper_checks" for name in registry.names()]


@pytest.mark.parametrize(("registry", "name"), ENTRIES, ids=[f"{registry.kind}-{name}" for registry, name in ENTRIES])
def test_one_name_for_file_function_and_entry(registry: Registry, name: str) -> None:
    factory = registry.get(name)
    assert factory.__name__ == name == Path(inspect.getfile(factory)).stem
    assert factory.__module__ == f"{registry.package}.{name}"
    assert (factory.__doc__ or "").strip(), f"{name} has no docstring"
    unsaid = [key for key, p in inspect.signature(factory).parameters.items() if p.annotation is inspect.Parameter.empty]
    assert not unsaid, f"{name}: no type given for {unsaid}"


@pytest.mark.parametrize("name", PAPERS.names())
def test_a_paper_is_its_file(name: str) -> None:
    check = PAPERS.get(name)
    assert check.paper.name == name and check.claims
    for claim in check.claims.values():
        assert (claim.function.__doc__ or "").strip(), f"{claim.name} has no docstring"
        assert claim.function.__name__ == claim.name


@pytest.mark.parametrize(
    "command", ["import theorysim", "import sys; sys.argv[1:] = ['--help']; from theorysim.cli import main; main()"]
)
def test_a_start_loads_nothing_heavy(command: str) -> None:
    code = f"import atexit, sys; atexit.register(lambda: sys.stderr.write(' '.join(sys.modules))); {command}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = {module.split(".")[0] for module in done.stderr.split()}
    assert "numpy" in loaded and "theorysim" in loaded
    assert not loaded & {"sympy", "matplotlib", "numba", "sklearn", "cupy", "jinja2", "networkx", "pandas", "distributed"}


def test_every_public_name_is_there() -> None:
    import theorysim

    for name in theorysim.__all__:
        assert getattr(theorysim, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        theorysim.nonsense  # noqa: B018
