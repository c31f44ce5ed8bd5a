"""Trains one run on several meshes, in a process of its own: the number of devices is fixed when
JAX starts.
"""

import collections
import contextlib
import math
import re
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from unittest import mock

import jax

from scaling.sweep.worker import FORKSERVER
from tests.train import toys
from train import before, config, evaluation, step
from train.devices import sharding

ONE = dict.fromkeys(sharding.AXES, 1)
STEPS = 10
COLLECTIVE = re.compile(
    r" = (?:\([^)]*\)|\S+) "
    r"(all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
SHAPE = re.compile(r"\bf32\[([\d,]+)\]")


def train_on(base: config.RunConfig, *changes: dict, devices: int = 8) -> list[dict]:
    """What each change {"mesh": {...}, ...} of a config does; axes that its mesh does not name are
    1."""
    whole = [change | {"mesh": ONE | change.get("mesh", {})} for change in changes]
    for _ in range(3):
        ours, theirs = FORKSERVER.Pipe(duplex=False)
        given = (theirs, devices, config.to_dict(base), whole)
        process = FORKSERVER.Process(target=_train, args=given)
        process.start()
        theirs.close()
        found = list(_received(ours))
        process.join()
        # XLA's CPU client now and then starts collectives in another order on each device, waits
        # for good and aborts.
        if process.exitcode != -signal.SIGABRT:
            break
    assert process.exitcode == 0
    return found


def _received(connection: Connection) -> Iterator[dict]:
    with contextlib.suppress(EOFError):
        while True:
            yield connection.recv()


def _train(told: Connection, devices: int, base: dict, changes: list[dict]) -> None:
    """Sends the result of each change.

    Each is compiled anew: of a program of several CPU devices that comes from the cache, devices
    may start collectives in orders of their own, and wait for each other for good.
    """
    jax.config.update("jax_num_cpu_devices", devices)
    jax.config.update("jax_enable_compilation_cache", False)
    for package, path in toys.paths().items():
        package.__path__ = path
    dataset = before.open_data(config.resolve(base))
    first = None
    for change in changes:
        c = config.resolve(base | change)
        devices = jax.devices()[: math.prod(change["mesh"].values())]
        functions = step.compile_for(c, dataset.eval_batch(0, 1), devices)
        hyper = step.hyper_of(c)
        # Compiling the initialisation for each mesh would take most of the time: one has its own.
        if first is None or change["mesh"]["fsdp"] == 8:
            first = jax.device_get(functions.init(hyper))
        state = jax.device_put(first, jax.tree.map(lambda a: a.sharding, functions.abstract))
        batch = dataset.train_batch(c.seed, 0, c.batch_size)
        compiled = functions.train.lower(functions.abstract, batch, hyper).compile()
        losses = []
        for now in range(STEPS):
            batch = dataset.train_batch(c.seed, now, c.batch_size)
            batch = jax.device_put(batch, compiled.input_shardings[0][1])
            state, metrics = compiled(state, batch, hyper)
            losses.append(float(metrics["loss"]))
        text = compiled.as_text()
        shapes = ([int(n) for n in found.split(",")] for found in SHAPE.findall(text))
        result = {
            "losses": losses,
            "metrics": {name: float(value) for name, value in metrics.items()},  # of the last step
            "split": {"params": split(state.params), "opt_state": split(state.opt_state)},
            "collectives": dict(collections.Counter(COLLECTIVE.findall(text))),
            "largest": max(map(math.prod, shapes)),
        }
        if c.task.name == "echo":
            kept = functions.examine(state, dataset.eval_batch(0, c.evaluation.batch_size), 0)
            result["kept"] = {name: x.tolist() for name, x in kept.items()}
        if c.evals:
            with mock.patch.object(jax, "devices", return_value=devices):
                sets = evaluation.evaluators(c, dataset, functions)
            result["evaluated"] = {name: x.metrics(state, last=True) for name, x in sets.items()}
        told.send(result)


def split(tree) -> dict[str, list[str]]:
    """Names of the mesh axes that arrays are split over, by the end of their path, for all moments
    alike."""
    found: dict[str, list[str]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = "/".join(key.key for key in path if isinstance(key, jax.tree_util.DictKey))
        axes = sorted(jax.tree.leaves(tuple(leaf.sharding.spec)))
        assert found.setdefault(name, axes) == axes, f"{name}: {axes}, not {found[name]}"
    return found
