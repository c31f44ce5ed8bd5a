"""Training steps of several peers in alternation: a process each, which waits while others work.

A round gives every peer some seconds in turn; what is said of two of them is the median of the
ratios of rounds, so that a machine which is busy for a while disturbs both.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.peers.timing import Asked
from train import allocator
from train.cli import InputError

SECONDS = 2.0  # of a peer in a round
OURS = "allometry"
# What stands behind `-m` for each of them, and in which of the Pythons that are given.
PEERS = {
    OURS: ("own", "benchmarks.peers.by_allometry"),
    "nanodo": ("own", "benchmarks.peers.by_nanodo"),
    "flax": ("own", "benchmarks.peers.by_flax"),
    "torch": ("torch", "benchmarks.peers.by_torch"),
    "torch.compile": ("torch", "benchmarks.peers.by_torch", "compile"),
}
TOLD = "+malloc"  # behind a peer's name: with this project's settings of the allocator


@dataclasses.dataclass(frozen=True)
class Timed:
    """A peer's step, of each round: seconds of wall time and CPU, and page faults."""

    N: int
    wall: list[float]
    cpu: list[float]
    faults: list[float]

    def times(self, other: "Timed") -> list[float]:
        """How often it takes the wall time of another, of each round, sorted."""
        return sorted(a / b for a, b in zip(self.wall, other.wall))


def race(
    names: Sequence[str], asked: Asked, pythons: dict[str, str], nanodo: str, rounds: int
) -> dict[str, Timed]:
    """Times each peer, by name.

    Args:
      names: in PEERS, perhaps with TOLD behind.
      asked: shapes, see `timing`.
      pythons: the interpreters, by what PEERS calls them.
      nanodo: a folder with that repository, "" if it is not needed.
      rounds: how many.

    Raises:
      InputError: a peer did not start.
    """
    with contextlib.ExitStack() as all_of_them:
        started = {
            name: all_of_them.enter_context(_started(name, asked, pythons, nanodo))
            for name in names
        }
        N = {name: _said(name, process)["N"] for name, process in started.items()}
        found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for _ in range(rounds):
            for name, process in started.items():
                process.stdin.write(f"{SECONDS}\n")
                process.stdin.flush()
                found[name].append(_said(name, process))
    return {
        name: Timed(N[name], *([x[field] for x in rows] for field in ("wall", "cpu", "faults")))
        for name, rows in found.items()
    }


@contextlib.contextmanager
def _started(
    name: str, asked: Asked, pythons: dict[str, str], nanodo: str
) -> Iterator[subprocess.Popen]:
    who, module, *mode = PEERS[name.removesuffix(TOLD)]
    variables = {k: x for k, x in os.environ.items() if not k.startswith("MALLOC_")}
    variables |= allocator.environment() if name.endswith(TOLD) else {}
    root = Path(__file__).parents[2]
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), nanodo]))
    command = [pythons[who] or sys.executable, "-m", module, json.dumps(asked), *mode]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=root, env=variables, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def _said(name: str, process: subprocess.Popen) -> dict:
    line = process.stdout.readline()
    if not line:
        why = process.stderr.read().strip().splitlines()[-1:]
        raise InputError(f"--peers: {name}: {''.join(why) or 'has ended'}")
    return json.loads(line)
