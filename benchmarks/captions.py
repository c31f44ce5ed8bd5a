"""What runs of text2image reach beside tables of counts, on the data that each was evaluated on.

    python -m benchmarks.captions --runs=runs/drawing,studies/text2image/runs/heldout

Prints nats per code of the test drawings by how often a code occurs in training (order 0) and after
the one before it (order 1: bigrams, those unseen by the method of Witten and Bell 1991), each with
its error, and what the runs' records say: their loss, how far it lies below order 1, the gain of
the caption, and how often the own caption is found, with Wilson's interval. The counts are of every
training drawing, as it is and moved, as the runs see them.
"""

import math
from pathlib import Path

import numpy as np
from absl import flags

from data import Dataset
from train import record, saved
from train.cli import InputError, run_main
from train.config import RunConfig
from train.evaluation import mean_and_error

PASSES = 8  # over the training drawings, each time moved another way


def main() -> int:
    """Prints a table."""
    if not flags.FLAGS.runs:
        raise InputError("--runs: missing; folders of runs of text2image")
    tables: dict[str, list] = {}
    for name in flags.FLAGS.runs:
        run = saved.open_run(saved.folder(name), 0)
        if run.config.data.name != "captioned":
            raise InputError(f"--runs: {name} is of data {run.config.data.name}; give text2image")
        if run.dataset.digest not in tables:
            tables[run.dataset.digest] = orders(run.dataset)
            for order, (mean, error) in enumerate(tables[run.dataset.digest]):
                print(f"order {order}: {mean:.3f} +- {error:.3f} nats per code")
        show(name, run.config, tables[run.dataset.digest][1][0])
    return 0


def orders(dataset: Dataset) -> list[tuple[float, float]]:
    """Nats per code of the evaluation set by tables of orders 0 and 1, with their errors."""
    size, codes = dataset.train_rows, dataset.facts["codes"]
    batches = (dataset.train_batch(0, step, size)["targets"] for step in range(PASSES))
    train = np.concatenate([*batches])
    held_out = dataset.eval_batch(0, dataset.eval_rows)["targets"]
    counts = np.bincount(train.ravel(), minlength=codes)
    alone = (counts + 1) / (counts.sum() + codes)
    # The first code of an image stands after a code that is none.
    pairs = np.zeros((codes + 1, codes))
    np.add.at(pairs, (_before(train, codes).ravel(), train.ravel()), 1)
    kinds, total = (pairs > 0).sum(axis=1, keepdims=True), pairs.sum(axis=1, keepdims=True)
    after = (pairs + kinds * alone) / np.maximum(total + kinds, 1)
    after[total[:, 0] == 0] = alone
    said = np.log(alone[held_out]), np.log(after[_before(held_out, codes), held_out])
    units = np.full(len(held_out), held_out.shape[1])
    return [mean_and_error(-x.sum(axis=1), units) for x in said]


def _before(rows: np.ndarray, none: int) -> np.ndarray:
    return np.pad(rows[:, :-1], ((0, 0), (1, 0)), constant_values=none)


def show(name: str, config: RunConfig, order_1: float) -> None:
    """What a run's record says, a line for each number."""
    metrics = record.load(Path(name) / "record.json").metrics
    loss, error = metrics["loss"]
    print(f"{name}: loss {loss:.3f} +- {error:.3f}, {order_1 - loss:.3f} below order 1")
    for key, (value, error) in sorted(metrics.items()):
        further, _, metric = key.rpartition("/")
        if metric in ("gain", "loss") and key != "loss":
            print(f"  {key} {value:.3f} +- {error:.3f}")
        if metric == "retrieval":
            of_set = config.evals[further].data if further else config.data
            low, high = wilson(value, n := of_set.config.eval_rows)
            among = of_set.config.others + 1
            print(f"  {key} {value:.3f} ({low:.3f} to {high:.3f}), {n} among {among} each")


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """An interval of 95% of a probability of which a share was found in n trials (Wilson 1927)."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half


if __name__ == "__main__":
    flags.DEFINE_list("runs", [], "Folders of runs of text2image.")
    run_main(main)
