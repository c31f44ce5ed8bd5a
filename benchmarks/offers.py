"""What a model that ranks items has to beat: what is most popular, and a linear model in one step.

    python -m benchmarks.offers [--source=insteval] [--items=0] [--ridges=3,10,30,100]

NDCG@10 and recall@10 on the test side of data `interactions`: of each user one item among all those
that he has not met. popularity: how many met an item. ease: each item is a linear sum
of the others (Steck 2019, "Embarrassingly shallow autoencoders for sparse data", equation 8); of
the ridges that is taken which is best on the validation side.
"""

import numpy as np
from absl import flags

import data
from train import cli
from train.evaluation import mean_and_error
from train.tasks.ranking import FIRST

LENGTH = 256  # as many of what a user has met are not offered

Batch = dict[str, np.ndarray]


def popularity(met: np.ndarray) -> np.ndarray:
    """Scores [U, I] by how many met an item, of who met what, 0 or 1 [U, I]."""
    return np.broadcast_to(met.sum(axis=0), met.shape)


def ease(met: np.ndarray, ridge: float) -> np.ndarray:
    """Scores [U, I] by linear regression of each item on all others."""
    precision = np.linalg.inv(met.T @ met + ridge * np.eye(met.shape[1]))
    weights = np.eye(len(precision)) - precision / np.diag(precision)
    return met @ weights


def measure(scores: np.ndarray, held_out: Batch) -> dict[str, tuple]:
    """Metrics with their errors; of items of equal score the one to be found is the last."""
    user, item = held_out["user"], held_out["item"]
    offered = np.append(scores[user], np.zeros((len(user), 1)), axis=1)  # of the number of nothing
    np.put_along_axis(offered, held_out["met"], -np.inf, axis=1)
    offered = offered[:, :-1]
    rank = (offered >= offered[np.arange(len(item)), item][:, None]).sum(axis=1)
    found = rank <= FIRST
    each = {f"ndcg@{FIRST}": found / np.log2(1 + rank), f"recall@{FIRST}": found.astype(float)}
    return {name: mean_and_error(x, held_out["weight"]) for name, x in each.items()}


def opened(source: str, evaluation: str, items: int = 0) -> tuple[np.ndarray, Batch]:
    """Who met what, [U, I], among what is trained on, and what is held out."""
    options = {"length": LENGTH, "evaluation": evaluation, "eval_rows": 0, "unique": 0}
    try:
        dataset = data.open_dataset("interactions", options | {"source": source, "items": items})
    except ValueError as error:
        raise cli.InputError(f"--source: {error}") from error
    train = dataset.train_batch(0, 0, dataset.train_rows)
    met = np.zeros((dataset.facts["user_rows"], dataset.facts["item_rows"]))
    met[train["user"], train["item"]] = 1
    return met, dataset.eval_batch(0, dataset.eval_rows)


def main() -> None:
    """Prints a line for each."""
    met, held_out = opened(flags.FLAGS.source, "test", flags.FLAGS.items)
    tuned, validation = opened(flags.FLAGS.source, "validation", flags.FLAGS.items)
    ridges = cli.numbers("ridges", flags.FLAGS.ridges)
    quality = f"ndcg@{FIRST}"
    ndcg = {r: measure(ease(tuned, r), validation)[quality][0] for r in ridges}
    ridge = max(ndcg, key=ndcg.get)
    scores = {"popularity": popularity(met), f"ease, ridge {ridge:g}": ease(met, ridge)}
    for name, of in scores.items():
        found = measure(of, held_out)
        told = ", ".join(f"{key} {x:.4f} +- {error:.4f}" for key, (x, error) in found.items())
        print(f"{name}: {told}")
    print("ease on the validation side:", ", ".join(f"{r:g}: {x:.4f}" for r, x in ndcg.items()))


if __name__ == "__main__":
    flags.DEFINE_string("source", "insteval", "Of data interactions.")
    flags.DEFINE_integer("items", 0, "Of data interactions.")
    flags.DEFINE_list("ridges", ["3", "10", "30", "100"], "To choose from.")
    cli.run_main(main)
