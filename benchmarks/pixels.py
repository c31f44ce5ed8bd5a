"""What an embedder has to beat: pixels themselves, less their mean, compared by their cosine.

    python -m benchmarks.pixels [--source=emoji] [--sides=16,32] [--evaluation=test]

Of the same identities and trials as those of data `identities`, by the metrics of task `match`. The
mean is of the images to train on; the temperature of the entropy is the best of five.
"""

import jax.numpy as jnp
import numpy as np
from absl import flags

import data
from configs import embedder
from train import cli, evaluation, tasks
from train.evaluation import Measured

TEMPERATURES = (0.02, 0.05, 0.1, 0.2, 0.5)


def measure(options: dict) -> tuple[float, Measured]:
    """The best temperature, and metrics with errors; `options` are those of data `identities`."""
    try:
        dataset = data.open_dataset("identities", options)
    except ValueError as error:
        raise cli.InputError(str(error)) from error
    mean = dataset.train_batch(0, 0, dataset.train_rows)["image"].mean(axis=(0, 1, 2))
    held_out = dataset.eval_batch(0, dataset.eval_rows)
    centred = (held_out["image"] - mean).reshape(*held_out["image"].shape[:3], -1)
    z = centred / np.linalg.norm(centred, axis=-1, keepdims=True)
    task, found = tasks.load("match"), []
    for temperature in TEMPERATURES:
        chosen = task.Config("contrastive", temperature, 0.0)
        scored = task.losses(chosen, lambda _: {"embedding": jnp.asarray(z)}, held_out, None)
        found.append((float(scored.sums["loss"].sum()), temperature, chosen, scored))
    _, temperature, chosen, scored = min(found, key=lambda one: one[:2])
    sums = {name: np.asarray(x) for name, x in scored.sums.items()}
    units, rows = np.asarray(scored.units), {"embedding": z}
    return temperature, evaluation.metrics(task, chosen, dataset.facts, sums, units, rows)


def main() -> None:
    """Prints all."""
    given = flags.FLAGS
    plain = {"flip": False, "crop": 0, "cutout": 0, "tint": 0.0, "unique": 0}
    options = embedder.recipe(8, 1e4).data.to_dict() | plain
    del options["name"]
    options |= {"source": given.source, "evaluation": given.evaluation}
    for side in cli.numbers("sides", given.sides):
        temperature, found = measure(options | {"side": int(side)})
        told = ", ".join(f"{name} {x:.3f} +- {error:.3f}" for name, (x, error) in found.items())
        print(f"{int(side)}x{int(side)}: {told} (temperature {temperature})", flush=True)


if __name__ == "__main__":
    flags.DEFINE_string("source", "emoji", "Of data identities.")
    flags.DEFINE_string("evaluation", "test", "Of data identities.")
    flags.DEFINE_list("sides", ["16", "32"], "Pixels of a side.")
    cli.run_main(main)
