"""What the contexts of ratings are worth: to a linear model in one step, and to runs beside it.

    python -m benchmarks.contexts [--source=insteval] [--contexts=studage,lectage,service,dept]
        [--strengths=3,10,30] [--runs=RUN_A,RUN_B]

RMSE on the test side of data `ratings`. biases: a number for each user and each item, by ridge
regression; and one for each value of a context too, where `contexts` are read. Of the ridges that
is taken which is best on the validation side, of which the final fit knows too. Runs, which lie in
folders and were evaluated on all of the same side, come after them. Of each also how much larger
its squared errors are than those of the first line, of the same ratings, with the standard error of
that difference.
"""

from pathlib import Path

import numpy as np
import scipy.sparse
from absl import flags

from benchmarks.als import Batch, opened
from train import cli
from train.evaluation import mean_and_error
from train.examine import again


def one_hot(batch: Batch, facts: dict, contexts: bool) -> scipy.sparse.csr_matrix:
    """[n, users + items + values], float64: a 1 for each column of a row, but for what is cold."""
    sides = [(batch[of][:, None], facts[f"{of}_rows"]) for of in ("user", "item")]
    if contexts:
        sides.append((batch["context"], facts["context_rows"]))
    parts = []
    for numbers, size in sides:
        row, _ = np.nonzero(numbers < size)
        places = row, numbers[numbers < size]
        shape = len(numbers), size
        parts.append(scipy.sparse.csr_matrix((np.ones(len(row)), places), shape))
    return scipy.sparse.hstack(parts).tocsr()


def regression(x: scipy.sparse.csr_matrix, y: np.ndarray, ridge: float) -> np.ndarray:
    """Weights of the least squares with a ridge."""
    squares = (x.T @ x).toarray() + ridge * np.eye(x.shape[1])
    return np.linalg.solve(squares, x.T @ y)


def squared_errors(train: Batch, held_out: Batch, facts: dict, contexts: bool, ridge: float):
    """Of each rating that is held out, by the regression on those to train on, [n]."""
    weights = regression(one_hot(train, facts, contexts), train["y"].astype(np.float64), ridge)
    return (one_hot(held_out, facts, contexts) @ weights - held_out["y"]) ** 2


def of_run(folder: Path, y: np.ndarray) -> np.ndarray:
    """Squared errors of a run, [n] (InputError: it was evaluated on other ratings)."""
    found = again.evaluate(folder, 0)
    there = found.units > 0
    if not np.array_equal(found.columns["y"][there], y):
        raise cli.InputError(f"--runs: {folder}; a run that is evaluated on all of the test side")
    return found.sums["loss"][there]


def main() -> None:
    """Prints a line for each."""
    given = flags.FLAGS
    strengths = cli.numbers("strengths", given.strengths)
    tuning, final = (
        opened(given.source, side, 0, given.contexts) for side in ("validation", "test")
    )
    found = {}
    for name, contexts in (("biases", False), ("biases and contexts", True)):
        tried = {r: squared_errors(*tuning, contexts, r).mean() for r in strengths}
        ridge = min(tried, key=tried.get)
        told = ", ".join(f"{r:g}: {loss**0.5:.4f}" for r, loss in tried.items())
        called = f"{name} (ridge {ridge:g}; validation {told})"
        found[called] = squared_errors(*final, contexts, ridge)
    for run in given.runs:
        found[run] = of_run(Path(run), final[1]["y"])
    first, whole = next(iter(found.values())), np.ones(len(final[1]["y"]))
    for name, errors in found.items():
        mean, error = mean_and_error(errors, whole)
        more, its_error = mean_and_error(errors - first, whole)
        rmse = f"RMSE {mean**0.5:.4f} +- {error / (2 * mean**0.5):.4f}"
        print(f"{name}: {rmse}; squared errors {more:+.4f} +- {its_error:.4f}")


if __name__ == "__main__":
    flags.DEFINE_string("source", "insteval", "Of data ratings.")
    flags.DEFINE_list("contexts", ["studage", "lectage", "service", "dept"], "Columns beside them.")
    flags.DEFINE_list("strengths", ["3", "10", "30"], "Ridges to choose from.")
    flags.DEFINE_list("runs", [], "Folders of runs.")
    cli.run_main(main)
