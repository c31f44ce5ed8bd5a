"""What drivers do at the wheel: crashes, distance and return over the same fixed episodes.

    python -m benchmarks.driving --runs=RUN[,RUN,...] [--film=FILE.gif [--start=7]]

Each run of family driver takes its likeliest action, from the starts of 256 episodes of a stream
that nothing was trained or tuned on; beside them drive the expert, one that always idles and one
that draws its actions evenly. Errors are standard errors over episodes. "behind": the expert's
return less the driver's own, in pairs of equal starts. The film shows the expert and the runs, one
below the other, from one start.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from data import driving
from data.sources import road, road_view
from train import cache, saved, step
from train.cli import InputError, define_path, run_main
from train.config import RunConfig
from train.record import replacing

VIEW, LABEL = road_view.View(height=72, width=640, behind=50.0, ahead=110.0), 20
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


def film(drivers: Mapping[str, road.Policy], start: int) -> np.ndarray:
    """Drives from the same start, uint8 [F, H, W, 3], one below the other, with names and what they
    have earned."""
    (key,) = driving.keys(SEED, driving.DRIVE, np.array([start]))
    strips = []
    for name, policy in drivers.items():
        driven = jax.device_get(jax.jit(lambda key, policy=policy: road.episode(policy, key))(key))
        earned = np.concatenate([[0], driven.earned.cumsum()])
        strip = []
        for number, pixels in enumerate(road_view.film(VIEW, driven.world)):
            now = number // road_view.RATE
            text = f"{name}: {now} s, {driven.world.v[now, 0]:.0f} m/s, return {earned[now]:.1f}"
            label = Image.new("RGB", (VIEW.width, LABEL), "white")
            ImageDraw.Draw(label).text((6, 3), text, "black", font_size=13)
            strip.append(np.concatenate([label, pixels]))
        strips.append(np.stack(strip))
    return np.concatenate(strips, axis=1)


def learnt(workdir: Path) -> tuple[RunConfig, road.Policy]:
    """The newest checkpoint of a run, as a driver (InputError where it is none)."""
    run = saved.open_run(saved.folder(str(workdir)), 0)
    config = run.config
    if config.model.name != "driver":
        raise InputError(f"--runs: {str(workdir)!r} is of {config.model.name}; allowed: driver")
    state = run.state()
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
    """Drives, prints and draws."""
    runs, path, start = flags.FLAGS.runs, flags.FLAGS.film, flags.FLAGS.start
    if not runs:
        raise InputError("--runs: none; allowed: folders of runs of family driver")
    if path and Path(path).suffix.lower() != ".gif":
        raise InputError(f"--film: {path}; allowed: a file .gif")
    cache.use_cache()
    drivers = dict(PLAIN)
    for folder in map(Path, runs):
        config, decide = learnt(folder)
        drivers[f"{folder.name} (width {config.model.config.width})"] = decide
    table = Table("driver", "crashes", "metres", "return", "behind", box=None)
    best = drive(PLAIN["expert"])
    for name, policy in drivers.items():
        table.add_row(*row(name, best if name == "expert" else drive(policy), best))
    Console().print(table)
    if path:
        shown = {name: x for name, x in drivers.items() if name not in ("idle", "random")}
        with replacing(Path(path)) as file:
            file.write(road_view.gif(film(shown, start)))
        print(path)


if __name__ == "__main__":
    flags.DEFINE_list("runs", [], "Folders of runs.")
    define_path("film", None, "A .gif of the expert and the runs.")
    flags.DEFINE_integer("start", 0, "Of the film: which of the episodes.", 0, EPISODES - 1)
    run_main(main)
