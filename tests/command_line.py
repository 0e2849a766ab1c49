"""Runs ``python -m theorysim`` as a user would: in a process of its own, with the plug-in of tests/plugin installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "theorysim")
TEXT: dict[str, Any] = {"text": True, "encoding": "utf-8"}


def environment(**extra: str) -> dict[str, str]:
    """This process's environment with the plug-in on the path, no GPU, 80 columns, and ``extra``."""
    paths = [str(ROOT), str(ROOT / "tests" / "plugin"), os.environ.get("PYTHONPATH", "")]
    fixed = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "80", "PYTHONUTF8": "1"}
    return {**os.environ, **fixed, **extra}


def theorysim(*words: str, cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """The finished process; ``extra`` are environment variables."""
    command, env = [*COMMAND, *words], environment(**extra)
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, timeout=120, check=False, **TEXT)


def start(*words: str, cwd: Path, **extra: str) -> subprocess.Popen[str]:
    """The running process."""
    command, env = [*COMMAND, *words], environment(**extra)
    return subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **TEXT)
