"""What imitators do at the wheel: crashes, distance and return over the same fixed episodes.

    python -m benchmarks.driving --runs=RUN[,RUN,...]

Each run of family driver takes its likeliest action, from the starts of 256 episodes of a stream
that nothing was trained or evaluated on; beside them drive the expert, one that always idles and
one that draws its actions evenly. Errors are standard errors over episodes. "behind": the expert's
return less the driver's own, in pairs of equal starts.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from data import driving
from data.sources import road
from train import before, cache, step
from train import config as configuration
from train import workdir as workdirs
from train.checkpoint import Checkpoints
from train.cli import InputError, run_main
from train.config import RunConfig

EPISODES, SEED = 256, 0
PLAIN: dict[str, road.Policy] = {
    "expert": lambda world, seen, key: road.expert(world),
    "idle": lambda world, seen, key: jnp.int32(0),
    "random": lambda world, seen, key: jax.random.randint(key, (), 0, len(road.ACTIONS)),
}


@dataclasses.dataclass(frozen=True)
class Driven:
    """What came of the episodes, [E] each."""

    crashed: np.ndarray  # 0 or 1
    metres: np.ndarray
    earned: np.ndarray


def drive(policy: road.Policy, episodes: int = EPISODES) -> Driven:
    """A policy in the first episodes of the stream that is for driving in."""
    keys_E = driving.keys(SEED, driving.DRIVE, np.arange(episodes))
    found = jax.jit(jax.vmap(lambda key: road.episode(policy, key)))(keys_E)
    sums = (found.crashed, found.metres.sum(axis=1), found.earned.sum(axis=1))
    return Driven(*(np.asarray(x, np.float64) for x in sums))


def imitator(workdir: Path) -> tuple[RunConfig, road.Policy]:
    """The newest checkpoint of a run, as a driver (InputError where it is none)."""
    config = configuration.resolve(workdirs.read(workdir)["config"])
    if config.data.name != "driving":
        raise InputError(f"--runs: {str(workdir)!r} is on {config.data.name}; allowed: driving")
    dataset = before.open_data(config)
    functions = step.compile_for(config, dataset.eval_batch(0, 1))
    with contextlib.closing(Checkpoints(workdir, config, dataset.digest)) as checkpoints:
        restored = checkpoints.restore_newest(functions.abstract)
    if restored is None:
        raise InputError(f"--runs: {str(workdir)!r}; it has no checkpoint")
    state, _ = restored
    variables = jax.device_get({"params": state.params, **state.extra})
    module = step.build_model(config)

    def decide(world: road.World, seen: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.argmax(module.apply(variables, {"cars": seen[None]})[0])

    return config, decide


def row(name: str, driven: Driven, best: Driven) -> tuple[str, ...]:
    """Cells of the table."""
    columns = (driven.crashed, driven.metres, driven.earned, best.earned - driven.earned)
    return name, *(_mean(x, digits) for x, digits in zip(columns, (3, 0, 2, 2)))


def _mean(x: np.ndarray, digits: int) -> str:
    return f"{x.mean():.{digits}f} +- {x.std(ddof=1) / len(x) ** 0.5:.{digits}f}"


def main() -> None:
    """Drives and prints."""
    if not flags.FLAGS.runs:
        raise InputError("--runs: none; allowed: folders of runs of family driver")
    cache.use_cache()
    drivers: list[tuple[str, Callable]] = list(PLAIN.items())
    for path in flags.FLAGS.runs:
        config, decide = imitator(Path(path))
        drivers.append((f"{Path(path).name} (width {config.model.config.width})", decide))
    table = Table("driver", "crashes", "metres", "return", "behind", box=None)
    best = drive(PLAIN["expert"])
    for name, policy in drivers:
        table.add_row(*row(name, best if name == "expert" else drive(policy), best))
    Console().print(table)


if __name__ == "__main__":
    flags.DEFINE_list("runs", [], "Folders of runs.")
    run_main(main)
