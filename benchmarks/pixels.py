"""What an embedder has to beat: pixels themselves, less their mean, compared by their cosine.

    python -m benchmarks.pixels [--source=emoji] [--sides=16,32] [--evaluation=test]

Of the same identities and trials as those of data `identities`, by the metrics of task `match`. The
mean is of the images to train on. The temperature of the entropy is the one of `configs/embedder`
that is best for pixels.
"""

import jax.numpy as jnp
import numpy as np
from absl import flags

import data
from configs import embedder
from train import cli, evaluation, tasks
from train.evaluation import Measured

TEMPERATURES = (0.02, 0.05, 0.1, 0.2, 0.5)


def measure(options: dict, temperature: float) -> Measured:
    """Metrics with errors; `options` are those of data `identities`."""
    try:
        dataset = data.open_dataset("identities", options)
    except ValueError as error:
        raise cli.InputError(str(error)) from error
    batch = dataset.train_batch(0, 0, dataset.train_rows)
    mean = batch["image"].mean(axis=(0, 1, 2))

    def pixels(batch: dict[str, np.ndarray]) -> dict[str, jnp.ndarray]:
        centred = (batch["image"] - mean).reshape(*batch["image"].shape[:3], -1)
        length = np.linalg.norm(centred, axis=-1, keepdims=True)
        return {"embedding": jnp.asarray(centred / length)}

    task = tasks.load("match")
    chosen = task.Config("contrastive", temperature, 0.0)
    held_out = dataset.eval_batch(0, dataset.eval_rows)
    scored = task.losses(chosen, pixels, held_out, None)
    rows = {name: np.asarray(x) for name, x in task.examine(chosen, pixels, held_out, None).items()}
    sums = {name: np.asarray(x) for name, x in scored.sums.items()}
    return evaluation.metrics(task, chosen, dataset.facts, sums, np.asarray(scored.units), rows)


def main() -> None:
    """Prints all."""
    given = flags.FLAGS
    plain = {"flip": False, "crop": 0, "cutout": 0, "tint": 0.0, "unique": 0}
    options = embedder.recipe(8, 1e4).data.to_dict() | plain
    del options["name"]
    options |= {"source": given.source, "evaluation": given.evaluation}
    for side in cli.numbers("sides", given.sides):
        found = [measure(options | {"side": int(side)}, t) for t in TEMPERATURES]
        best = min(found, key=lambda one: one["loss"][0])
        told = ", ".join(f"{name} {x:.3f} +- {error:.3f}" for name, (x, error) in best.items())
        temperature = TEMPERATURES[found.index(best)]
        print(f"{int(side)}x{int(side)}: {told} (temperature {temperature})", flush=True)


if __name__ == "__main__":
    flags.DEFINE_string("source", "emoji", "Of data identities.")
    flags.DEFINE_string("evaluation", "test", "Of data identities.")
    flags.DEFINE_list("sides", ["16", "32"], "Pixels of a side.")
    cli.run_main(main)
