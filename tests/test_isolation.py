"""What is slow to load, or may be missing, is loaded when it is used and not before."""

from __future__ import annotations

import subprocess
import sys

import pytest
from command_line import environment

SLOW = ("sympy", "matplotlib", "numba", "sklearn", "pandas", "cupy", "jinja2", "rich", "scipy", "networkx", "latex2mathml")

HELP = """
import runpy
sys.argv = ["theorysim", "--help"]
try:
    runpy.run_module("theorysim", run_name="__main__")
except SystemExit as end:
    assert end.code == 0
"""


@pytest.mark.parametrize("code", ["import theorysim as ts; ts.list_problems(); ts.list_papers()", HELP])
def test_slow_packages_are_not_loaded(code: str) -> None:
    program = f"import sys\n{code}\nprint('loaded:', *sorted(set({SLOW}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"
    assert ("Usage: theorysim" in done.stdout) == (code is HELP)
