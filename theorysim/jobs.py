"""Worker processes on this machine, one thread each; those that die are replaced."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from theorysim.model import TheorysimError

# Processes side by side: threads of one would take the cores of another.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
_COMMAND = ("-P", "-m", "distributed.cli.dask_worker")
_OPTIONS = ("--no-nanny", "--no-dashboard", "--nthreads", "1", "--memory-limit", "0", "--death-timeout", "60")


class Jobs:
    """``count`` workers of the Dask scheduler at ``address``; with ``gpus`` each sees one of them.

    They are processes of their own and not children of Python's multiprocessing, which would import the user's script once
    more. They end by themselves when the scheduler does, even where nothing was left to end them.
    """

    def __init__(self, address: str, count: int, gpus: Sequence[str] = ()) -> None:
        self._address, self._gpus = address, gpus
        self._folder = tempfile.TemporaryDirectory(prefix="theorysim-jobs-", ignore_cleanup_errors=True)
        self._processes = [self._start(index) for index in range(count)]

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def tend(self) -> int:
        """Start anew what has died; returns how many processes that were."""
        dead = [index for index, process in enumerate(self._processes) if process.poll() is not None]
        for index in dead:
            self._processes[index] = self._start(index)
        return len(dead)

    def require_alive(self) -> None:
        """TheorysimError, with the last words of a worker that could not even start."""
        for index, process in enumerate(self._processes):
            if process.poll() is not None:
                last = self._log(index).read_text(errors="replace").strip().splitlines()[-1:]
                raise TheorysimError(f"a worker process of --jobs could not start: {''.join(last) or process.returncode}")

    def close(self) -> None:
        """End all processes; a cell they are in the middle of is lost."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._folder.cleanup()

    def _log(self, index: int) -> Path:
        return Path(self._folder.name, f"worker-{index}.log")

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        # What can be imported here can be imported there; the current folder is written "" in sys.path.
        env = {**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        if self._gpus:
            env["CUDA_VISIBLE_DEVICES"] = self._gpus[index % len(self._gpus)]
        command = [sys.executable, *_COMMAND, self._address, *_OPTIONS, "--local-directory", self._folder.name]
        with self._log(index).open("wb") as log:
            # In a session of its own: Ctrl-C is for the process that started it.
            return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them; none where they cannot be listed."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [word.strip() for word in chosen.split(",") if word.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(index) for index, line in enumerate(line for line in listed.splitlines() if line.startswith("GPU "))]
