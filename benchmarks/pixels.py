"""What an embedder has to beat: pixels, less their mean, compared by their cosine; and whitened.

    python -m benchmarks.pixels [--source=emoji] [--sides=16] [--evaluation=test]

Of the same identities and trials as those of data `identities`, by the metrics of task `match`. The
mean is of the images to train on; the temperature of the entropy is the best of five. Whitened are
they by what two images of one identity differ in: the covariance of these differences on the
training side, with its mean variance added to all directions.
"""

import jax.numpy as jnp
import numpy as np
from absl import flags

import data
from configs import embedder
from train import cli, evaluation, tasks
from train.evaluation import Measured

TEMPERATURES = (0.02, 0.05, 0.1, 0.2, 0.5)


def measure(options: dict, whiten: bool) -> tuple[float, Measured]:
    """The best temperature, and metrics with errors; `options` are those of data `identities`."""
    try:
        dataset = data.open_dataset("identities", options)
    except ValueError as error:
        raise cli.InputError(str(error)) from error
    train = _flat(dataset.train_batch(0, 0, dataset.train_rows)["image"])
    held_out = dataset.eval_batch(0, dataset.eval_rows)
    z = _flat(held_out["image"]) - train.mean(axis=(0, 1, 2))
    z = z @ _whitener((train[:, :, 0] - train[:, :, 1]).reshape(-1, z.shape[-1])) if whiten else z
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    task, found = tasks.load("match"), []
    for temperature in TEMPERATURES:
        chosen = task.Config("contrastive", temperature, 0.0)
        scored = task.losses(chosen, lambda _: {"embedding": jnp.asarray(z)}, held_out, None)
        found.append((float(scored.sums["loss"].sum()), temperature, chosen, scored))
    _, temperature, chosen, scored = min(found, key=lambda one: one[:2])
    sums = {name: np.asarray(x) for name, x in scored.sums.items()}
    units, rows = np.asarray(scored.units), {"embedding": z}
    return temperature, evaluation.metrics(task, chosen, dataset.facts, sums, units, rows)


def _flat(image: np.ndarray) -> np.ndarray:
    return image.reshape(*image.shape[:3], -1)


def _whitener(differences: np.ndarray) -> np.ndarray:
    """[n, P] -> [P, P]: what makes differences, and as much in every direction, of variance 1."""
    covariance = differences.T @ differences / len(differences)
    ridge = np.trace(covariance) / len(covariance)
    variance, directions = np.linalg.eigh(covariance)
    return directions / np.sqrt(variance + ridge)


def main() -> None:
    """Prints all."""
    given = flags.FLAGS
    plain = {"flip": False, "crop": 0, "cutout": 0, "tint": 0.0, "unique": 0}
    options = embedder.recipe(8, 1e4).data.to_dict() | plain
    del options["name"]
    options |= {"source": given.source, "evaluation": given.evaluation}
    for side in cli.numbers("sides", given.sides):
        for kind in ("pixels", "whitened"):
            temperature, found = measure(options | {"side": int(side)}, kind == "whitened")
            told = ", ".join(f"{name} {x:.3f} +- {error:.3f}" for name, (x, error) in found.items())
            print(f"{kind} {int(side)}x{int(side)}: {told} (temperature {temperature})", flush=True)


if __name__ == "__main__":
    flags.DEFINE_string("source", "emoji", "Of data identities.")
    flags.DEFINE_string("evaluation", "test", "Of data identities.")
    flags.DEFINE_list("sides", ["16"], "Pixels of a side.")
    cli.run_main(main)
