"""Runs of a sweep on a cluster run on Ray: placed by the cores and GPUs that they need, tried again
where a node is lost.

    ray start --head                                  on one machine
    ray start --address=HOST:6379                     on every other one
    python -m scaling.sweep --workdir=/shared/demo --executor=ray --address=HOST:6379

What the cluster must have: this repository, and the Python it runs on, at the same path on all
nodes; a workdir that all nodes share (checkpoints and records go there, as on one machine: that is
why a run whose node is lost goes on from its checkpoint on another); and a network of its own, for
whoever reaches a cluster's ports can run code on it. Nodes may come and go while a sweep is at
work. Runs that take no GPU are trained on the CPU. Ray is imported only here and when it is used.
"""

import contextlib
import dataclasses
import os
import queue
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scaling.sweep.worker import UNDER_WAY
from train import allocator
from train.cli import InputError, Unavailable

VERSION = "2.60.0"  # the one tested
# Workers in a row that die before their first run: something is wrong that no retry will mend.
_STILLBORN = 3
# A node that is out of reach may still be training for a while, and then holds the run's folder.
_SECONDS_TO_LET_GO = 120.0


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Which cluster, and what each run takes of it."""

    address: str = "auto"  # host:port of its head; "auto" = the cluster of this machine
    cpus_per_run: int = 1
    gpus_per_run: int | None = None  # None = 1 where the cluster has any, 0 where not


class RayWorkers:
    """The executor of a cluster; see `scaling.sweep.Executor`.

    A worker is a Ray actor: a process on some node that holds what a run takes, and trains one run
    after another. There are as many as the cluster has room for and one more, which waits: a node
    that joins gets it, and a cluster that can grow sees that it should.
    """

    # Nodes may be taken away more than once through no fault of the run.
    tries = 4

    def __init__(self, cluster: Cluster, workdir: Path, workers: int):
        """Connects. Raises InputError if there is no Ray, no cluster or no node that is enough."""
        self._ray = _import_ray()
        self._most = workers
        self._workers: list[_Worker] = []
        self._stillborn = 0
        self._folder = workdir.absolute()
        # Known to nobody else: a node that reads it sees this very folder.
        self._token = self._folder / f".seen-{secrets.token_hex(8)}"
        self._connect(cluster.address)
        try:
            self._resources = _resources(cluster, self._nodes())
            self._token.write_text(self._token.name)
        except BaseException:
            self.close()
            raise

    def room(self, waiting: int) -> bool:
        """Whether a worker is idle. Starts workers as needed, and ends those that are not."""
        ready = [worker for worker in self._workers if worker.ready]
        if not waiting:
            for worker in [w for w in self._workers if w.run is None]:
                self._end(worker)
            return False
        busy = sum(worker.run is not None for worker in self._workers)
        places = sum(_places(node, self._resources) for node in self._nodes()) + 1
        wanted = min(places, busy + waiting, self._most or places)
        while len(self._workers) < wanted:
            self._workers.append(self._worker())
        return bool(ready)

    def start(self, run: str, config: dict[str, Any], data_sha256: str, folder: Path) -> None:
        """Gives a run to an idle worker."""
        worker = next(worker for worker in self._workers if worker.ready)
        worker.run, worker.ready = run, False
        worker.actor.train.remote(run, config, data_sha256, str(folder.absolute()))
        worker.next = worker.actor.listen.remote()

    def messages(self, seconds: float) -> Iterator[tuple]:
        """What the workers say within some seconds."""
        expected = {w.next: w for w in self._workers if w.next is not None}
        if not expected:
            time.sleep(seconds)
            return
        ready, _ = self._ray.wait(list(expected), timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(list(expected), num_returns=len(expected), timeout=0)
        for reference in ready:
            worker = expected[reference]
            try:
                message = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                yield from self._bury(worker, error)
                continue
            yield from self._hear(worker, message)

    def kill(self, run: str) -> None:
        """Ends the worker of a run."""
        self._end(next(worker for worker in self._workers if worker.run == run))

    def stop(self) -> None:
        """Asks for all runs to be saved."""
        self.room(0)
        for worker in self._workers:
            worker.actor.stop.remote()

    def close(self) -> None:
        """Ends all workers and leaves the cluster."""
        self._token.unlink(missing_ok=True)
        for worker in list(self._workers):
            self._end(worker)
        self._ray.shutdown()

    def _connect(self, address: str) -> None:
        try:
            host, colon, port = address.rpartition(":")
            if colon and "//" not in host:
                # Ray would knock for a minute.
                socket.create_connection((host, int(port)), timeout=10).close()
            # Ray takes SIGTERM for itself, but the sweep knows what it means.
            handler = signal.getsignal(signal.SIGTERM)
            self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            signal.signal(signal.SIGTERM, handler)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise InputError(
                f"--address: {address}; no Ray cluster that answers there:"
                f" {_one_line(error)}; start one with `ray start --head`"
            ) from None

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _worker(self) -> "_Worker":
        cpus, gpus = self._resources
        environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
        if not gpus:
            # NPROC is what XLA sizes its thread pools by, if it is set: a run keeps to its share of
            # the cores, and its sums are cut as on one machine.
            environment |= {"JAX_PLATFORMS": "cpu", "NPROC": str(cpus)} | allocator.environment()
        actor = (
            self._ray.remote(_Trainer)
            .options(
                num_cpus=cpus,
                num_gpus=gpus,
                max_concurrency=2,  # `stop` is heard while `listen` waits
                runtime_env={"env_vars": environment},
            )
            .remote()
        )
        return _Worker(actor, actor.look.remote(str(self._token)))

    def _hear(self, worker: "_Worker", message: Any) -> Iterator[tuple]:
        if worker.run is None:
            node, sees = message
            worker.node, worker.ready, worker.next = node, sees, None
            self._stillborn = 0
            if not sees:
                self._end(worker)
                reason = f"node {node} cannot see it or write there: all nodes must share it"
                yield "refused", "", f"--workdir: {self._folder}; {reason}"
            return
        if message[0] in UNDER_WAY:
            worker.next = worker.actor.listen.remote()
        else:
            worker.run, worker.ready, worker.next = None, True, None
        yield message

    def _bury(self, worker: "_Worker", error: Exception) -> Iterator[tuple]:
        self._end(worker)
        if worker.run is not None:
            yield "died", worker.run, f"worker on node {worker.node} died: {_one_line(error)}"
            return
        self._stillborn += 1
        if self._stillborn == _STILLBORN:
            yield "refused", "", f"--executor: ray; no worker starts there: {_one_line(error)}"

    def _end(self, worker: "_Worker") -> None:
        self._workers.remove(worker)
        self._ray.kill(worker.actor)


@dataclasses.dataclass(eq=False)
class _Worker:
    """A worker as the sweep sees it."""

    actor: Any
    next: Any  # reference to what it will say next; None while it is idle
    node: str = ""
    ready: bool = False  # to be given a run
    run: str | None = None


class _Trainer:
    """A worker on its node: an actor of Ray."""

    def __init__(self):
        self._said: queue.SimpleQueue = queue.SimpleQueue()
        self._stop = threading.Event()

    def look(self, token: str) -> tuple[str, bool]:
        """This node's name, and whether the sweep's folder is here too and can be written."""
        import ray

        path = Path(token)
        try:
            sees = path.read_text() == path.name and os.access(path.parent, os.W_OK)
        except OSError:
            sees = False
        return ray.util.get_node_ip_address(), sees

    def train(self, name: str, values: dict[str, Any], data_sha256: str, folder: str) -> None:
        """Starts a run; `listen` tells how it goes."""
        run = (name, values, data_sha256, Path(folder))
        threading.Thread(target=self._train, args=run, daemon=True).start()

    def listen(self) -> tuple:
        """Waits for the next message of the run, see `scaling.sweep.worker.train`."""
        return self._said.get()

    def stop(self) -> None:
        """Asks for the run to be saved."""
        self._stop.set()

    def _train(self, name: str, values: dict[str, Any], data_sha256: str, folder: Path) -> None:
        from scaling.sweep import worker

        try:
            _wait_until_free(folder)
            said, stop = self._said.put, self._stop.is_set
            last = worker.train(said, stop, name, values, data_sha256, folder)
        except BaseException as error:  # or the sweep would wait for ever
            last = ("kept", name, f"{type(error).__name__}: {_one_line(error)}")
        self._said.put(last)


def _wait_until_free(folder: Path) -> None:
    """Waits while the worker that had a run before holds its folder; not for ever."""
    from train import run

    end = time.monotonic() + _SECONDS_TO_LET_GO
    while time.monotonic() < end:
        with contextlib.suppress(Unavailable), run.locked(folder):
            return
        time.sleep(1.0)


def _import_ray() -> Any:
    # Ray's own words go to its log files; the sweep says what matters. Read when Ray is imported.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise InputError(f"--executor=ray needs ray: pip install 'ray=={VERSION}'") from None
    return ray


def _resources(cluster: Cluster, nodes: list[dict[str, Any]]) -> tuple[int, int]:
    """CPUs and GPUs of a run. Raises InputError if no node has as much."""
    gpus = cluster.gpus_per_run
    if gpus is None:
        gpus = int(any(node["Resources"].get("GPU", 0) >= 1 for node in nodes))
    for name, needed, kind in (
        ("cpus_per_run", cluster.cpus_per_run, "CPU"),
        ("gpus_per_run", gpus, "GPU"),
    ):
        most = int(max((node["Resources"].get(kind, 0) for node in nodes), default=0))
        if needed > most:
            raise InputError(f"--{name}: {needed}; no node of the cluster has more than {most}")
    if not any(_places(node, (cluster.cpus_per_run, gpus)) for node in nodes):
        raise InputError(
            f"--cpus_per_run: {cluster.cpus_per_run} with --gpus_per_run: {gpus};"
            " no node of the cluster has both"
        )
    return cluster.cpus_per_run, gpus


def _places(node: dict[str, Any], resources: tuple[int, int]) -> int:
    """How many runs a node has room for."""
    cpus, gpus = resources
    places = int(node["Resources"].get("CPU", 0) // cpus)
    return min(places, int(node["Resources"].get("GPU", 0) // gpus)) if gpus else places


def _one_line(error: BaseException) -> str:
    """What Ray says in many lines, without its identifiers and what we say ourselves."""
    lines = [line for line in str(error).splitlines() if not line.startswith("\t")]
    text = " ".join(" ".join(lines).split())
    return text.removeprefix("The actor died unexpectedly before finishing this task. ")[:300]
