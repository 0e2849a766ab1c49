"""Cells on a Dask cluster: the only file that imports Dask, when a cluster is asked for.

The client keeps the list of what is to be done; workers and scheduler may come and go. A task is a cell's name (its Specs), so
it may be begun any number of times; a result is handed on when it arrives and forgotten by the cluster.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from theorysim.backend import Backend, one_blas_thread, select
from theorysim.cell_key import cell_key
from theorysim.executors import Executor, InProcess
from theorysim.model import Cell, TheorysimError
from theorysim.traffic import TICK, Fate, Flights, Outcome, Traffic, warn
from theorysim.validation import positive_integer
from theorysim.worker import about, answer, backend, other_sources, sources

if TYPE_CHECKING:
    from theorysim.jobs import Jobs

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE = 300.0  # seconds to wait for a scheduler or for workers to return
_FETCH = 5.0  # seconds for an answer that is there, before it is asked whether it still is
_CONNECT = 10.0  # seconds for a scheduler to answer at first
_CLAIMS = 32  # claims that are checked at once, at most
_ADDRESS = re.compile(r"((tcp|tls|ws|wss)://)?(\[[^]\s]+\]|[^/:\s]+):\d+")
_SILENT = logging.CRITICAL + 1


@contextmanager
def workers(
    jobs: int | None = None, cluster: str | Executor | None = None, device: str | Backend = "auto", patience: float = PATIENCE
) -> Iterator[Executor]:
    """The executor asked for: ``jobs`` worker processes on this machine, the workers of the Dask scheduler at the address
    ``cluster``, an executor that is there already, or, with neither, this process.

    ``device``: where the workers compute. ``patience``: seconds to wait for a lost scheduler, or for the first or a new worker.
    Raises TheorysimError for bad input, without Dask, and where there is no scheduler or no worker.
    """
    if jobs is not None and cluster is not None:
        raise TheorysimError("--jobs (jobs=) starts workers, --cluster (cluster=) uses those of a scheduler; give one of them")
    if jobs is None and not isinstance(cluster, str):
        yield cluster or InProcess()
        return
    if jobs is not None:
        positive_integer("jobs", jobs)
    if importlib.util.find_spec("distributed") is None:
        raise TheorysimError('--jobs and --cluster need Dask, which is not installed; pip install "theorysim[cluster]"')
    if cluster is not None and not _ADDRESS.fullmatch(str(cluster)):
        raise TheorysimError(
            f"{cluster!r} is no address of a Dask scheduler; write --cluster tcp://host:8786, or tls://host:8786"
        )
    word = device.name if isinstance(device, Backend) else device
    with ExitStack() as stack:
        stack.enter_context(_silence())
        address, processes = (str(cluster), None) if jobs is None else stack.enter_context(_local(jobs, word))
        yield stack.enter_context(closing(Cluster(address, word, patience, processes)))


@contextmanager
def _silence() -> Iterator[None]:
    """Dask reports every lost connection; what matters of it is said by us."""
    importlib.import_module("distributed")  # which sets the levels of its loggers
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in levels:
        logger.setLevel(_SILENT)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextmanager
def _local(jobs: int, device: str) -> Iterator[tuple[str, Jobs]]:
    """A scheduler in a thread of this process, and workers beside it."""
    import dask
    from distributed import LocalCluster

    from theorysim.jobs import Jobs, visible_gpus

    gpus = visible_gpus() if select(device).name == "gpu" else []
    # A worker is there as long as its process is: one in a long computation may not answer for any time.
    with dask.config.set({"distributed.scheduler.worker-ttl": None}):
        scheduler = LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=0,
            host="127.0.0.1",
            protocol="tcp://",
            dashboard_address="127.0.0.1:0",
            silence_logs=_SILENT,
            scheduler_kwargs={"allowed_failures": 1},
        )
    with closing(scheduler), closing(Jobs(scheduler.scheduler_address, jobs, gpus)) as processes:
        yield scheduler.scheduler_address, processes


class Cluster:
    """An executor on the workers of one Dask scheduler, to be closed at the end of the work.

    ``device``: the name of the device that all workers have. ``size``: the number of workers. Maps may be called from several
    threads; they share the workers.
    """

    def __init__(self, address: str, device: str, patience: float = PATIENCE, jobs: Jobs | None = None) -> None:
        self.address, self.jobs, self._patience = address, jobs, patience
        self._traffic, self._restoring = Traffic(), threading.Lock()
        self.size, self._looked, self._seen = 0, 0.0, time.monotonic()
        self.client = self._connected(_CONNECT)
        try:
            self._await_workers()
            self.device, described = self._agreed(device)
        except BaseException:
            self.close()
            raise
        self.about = {"device": described, "workers": f"{self.size} {'on this machine' if jobs else f'of {address}'}"}

    def close(self) -> None:
        """Leave the cluster; its workers drop what was not fetched."""
        with suppress(Exception):
            self.client.close(timeout=2)

    # -------------------------------------------------------------------------------------------- what an executor does
    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """See Executor. Raises what the function raises, and TheorysimError for a cell that ends its workers again and again,
        for one that workers cannot know, and where scheduler or workers stay away."""
        flights = Flights(self._traffic, self, self._pickled(function), items)
        try:
            yield from flights.results()
        finally:
            flights.close()

    def each(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """See Executor."""
        threads = ThreadPoolExecutor(max(1, min(_CLAIMS, 2 * self.size, len(items))))
        self._traffic.kept = {}
        try:
            with one_blas_thread():  # the limit is the process's: threads that set it in turn would lift it for each other
                yield from threads.map(function, items)
        finally:
            self._traffic.stop(True)
            threads.shutdown(cancel_futures=True)
            self._traffic.stop(False)
            self._traffic.kept = None

    # -------------------------------------------------------------------------------------------- the way to the workers
    def key(self, item: Any) -> str | None:
        """The key of a cell; TheorysimError for one of a problem or an algorithm that is defined in this process only."""
        if not isinstance(item, Cell):
            return None
        key = cell_key(item, self.device)
        if key is None:
            raise TheorysimError(
                f"{item.problem.name} or {item.algorithm.name}, or a measure, was registered at a prompt or in a script, or a "
                "data file cannot be read: workers do not have it; put it into a package with an entry point, or run it in "
                "this process, without --jobs and --cluster"
            )
        return key

    def send(self, name: tuple[str, ...], key: str | None, function: bytes, item: Any) -> Any:
        """The future of an answer, None where the scheduler is lost. What has the same name is worked on once, however many
        ask for it at a time."""
        client, given = self.client, (sources(), self.device, key, function, self._pickled(item))
        try:
            return client.submit(answer, *given, key=(f"theorysim-{given[0][:16]}", *name), pure=False)
        except Exception:
            if client.status == "running":
                raise
            return None

    def fetch(self, futures: Sequence[Any]) -> list[Outcome]:
        """The answers, and the fates of those that have none."""
        return [self._outcome(future) for future in futures]

    def _outcome(self, future: Any) -> Outcome:
        from distributed import KilledWorker

        try:
            return future.result(timeout=_FETCH)
        except KilledWorker:
            return Fate.KILLED
        except TimeoutError:  # slow; or lost with its worker, and nobody computes it anew before workers are tended
            return self._outcome(future) if future.status == "finished" else Fate.FORGOTTEN
        except _lost(Exception) as error:
            if isinstance(error, _lost()) or future.client.status != "running":
                return Fate.FORGOTTEN
            return TheorysimError(f"a worker cannot begin ({error!r}); install the same theorysim and Dask on all workers")

    def _pickled(self, thing: Any) -> bytes:
        """A function or an item with all it refers to; a backend in it becomes the worker's own."""
        import cloudpickle

        device = self.device

        class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
            def reducer_override(self, thing: Any) -> Any:
                return (backend, (device,)) if isinstance(thing, Backend) else super().reducer_override(thing)

        file = io.BytesIO()
        Pickler(file).dump(thing)
        return file.getvalue()

    # -------------------------------------------------------------------------------------------- scheduler and workers
    def tend(self) -> None:
        """Replace processes of this machine that have died, wait for a lost scheduler, and count the workers."""
        if self.jobs is not None and (dead := self.jobs.tend()):
            warn(f"{dead} worker process{'es' * (dead != 1)} died; what was worked on there is run again")
        if self.client.status != "running":
            self._restore()
        self._look()

    def _look(self) -> None:
        now = time.monotonic()
        if self.size and now - self._looked < TICK:
            return
        self._looked = now
        with suppress(*_lost()):
            self.size = len(self.client.nthreads())
        if self.size:
            self._seen = now
        elif now - self._seen > self._patience:
            raise TheorysimError(
                f"the scheduler {self.address} has had no workers for {self._patience:g} s; start some ('dask worker --help'), "
                "and run this again: finished cells are kept"
            )

    def _restore(self) -> None:
        """Return when the scheduler answers again; TheorysimError if it stays away."""
        with self._restoring:
            if self.client.status == "running":
                return
            warn(f"the scheduler {self.address} does not answer; waiting up to {self._patience:g} s for it to return")
            deadline = time.monotonic() + self._patience
            self.close()
            while self.client.status != "running":
                if time.monotonic() > deadline:
                    raise TheorysimError(
                        f"the scheduler {self.address} has not returned for {self._patience:g} s; start it again, and run "
                        "this again: finished cells are kept"
                    )
                with suppress(TheorysimError):
                    self.client = self._connected(1.0)
                time.sleep(0.1)
            self.size, self._seen = 0, time.monotonic()

    def _connected(self, timeout: float) -> Any:
        from distributed import Client

        try:
            direct = True if self.jobs else None  # workers of a cluster can perhaps be reached by its scheduler only
            return Client(self.address, timeout=timeout, set_as_default=False, direct_to_workers=direct)  # type: ignore
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            raise TheorysimError(
                f"no Dask scheduler answers at {self.address} ({error}); start one there with 'dask scheduler', or give the "
                "address of another one as --cluster tcp://host:8786"
            ) from None

    def _await_workers(self) -> None:
        """Wait for the first worker; for all, where they are processes of this machine."""
        wanted, late = len(self.jobs.pids) if self.jobs else 1, time.monotonic() + 1.0
        while self.size < wanted:
            self._looked = 0.0
            self._look()
            if self.jobs is not None:
                self.jobs.require_alive()
            elif not self.size and time.monotonic() > late:
                warn(f"the scheduler {self.address} has no workers yet; waiting up to {self._patience:g} s for the first")
                late = float("inf")  # said once
            time.sleep(0.02)

    def _agreed(self, device: str) -> tuple[str, str]:
        """The device that every worker has, and its description; TheorysimError where a worker cannot work for us."""
        found: dict[str, Any] = self.client.run(about, device, on_error="return")
        for where, told in found.items():
            if isinstance(told, TheorysimError):
                raise TheorysimError(f"the worker {where}: {told}")
            if isinstance(told, Exception):
                raise TheorysimError(f"the worker {where} cannot begin ({told!r}); install this version of theorysim there")
            if told[0] != sources():
                raise TheorysimError(other_sources(where))
        names = {name for _, name, _ in found.values()}
        agreed = names.pop() if len(names) == 1 else "cpu"
        return agreed, next((text for _, name, text in found.values() if name == agreed), agreed)


def _lost(*others: type[BaseException]) -> tuple[type[BaseException], ...]:
    """What is raised where a connection breaks."""
    return *others, OSError, CancelledError, importlib.import_module("asyncio").CancelledError
