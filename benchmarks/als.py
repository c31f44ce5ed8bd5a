"""What a factorisation by gradient descent has to reach: alternating least squares, by NumPy.

    python -m benchmarks.als [--source=msq] [--ranks=0,1,2,4,8] [--strengths=1,3,10]

RMSE on the test side of data `ratings`, with as many rows to train on as a run of
configs/factorization.py has. A rating is told from the mean; its user's bias and vector are the
ridge regression on the items', then the other way round (Zhou et al. 2008, "Large-scale parallel
collaborative filtering for the Netflix Prize"; here the ridge is the same for everybody). Of the
ridges that is taken which is best on the validation side, of which the final fit knows too.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse
from absl import flags

import data
from train import cli
from train.evaluation import mean_and_error

SWEEPS = 60
SPREAD = 0.1  # of first values

Batch = dict[str, np.ndarray]


def factorise(
    train: Batch, users: int, items: int, rank: int, ridge: float, sweeps: int = SWEEPS
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of users [users, rank + 2] and items [items, rank + 2], whose products are ratings.

    The first place of a user's is his bias, against a 1 of the items', the second the other way
    round. Who has no rating has zeros, but for that 1.
    """
    rng = np.random.default_rng(0)
    user = np.concatenate([np.zeros((users, 1)), np.ones((users, 1))], axis=1)
    item = user[:, ::-1][:1].repeat(items, axis=0)
    user = np.concatenate([user, np.zeros((users, rank))], axis=1)
    item = np.concatenate([item, SPREAD * rng.normal(size=(items, rank))], axis=1)
    shape, places = (users, items), (train["user"], train["item"])
    rated = scipy.sparse.csr_matrix((np.ones(len(train["y"])), places), shape)
    y = scipy.sparse.csr_matrix((train["y"].astype(np.float64), places), shape)
    for _ in range(sweeps):
        user = _solved(user, item, 0, y, rated, ridge)
        item = _solved(item, user, 1, y.T.tocsr(), rated.T.tocsr(), ridge)
    return user, item


def _solved(
    own: np.ndarray,
    other: np.ndarray,
    bias: int,
    y: scipy.sparse.csr_matrix,
    rated: scipy.sparse.csr_matrix,
    ridge: float,
) -> np.ndarray:
    """New vectors of one side, whose bias is at place `bias`; ratings are less the other's bias."""
    free = [bias, *range(2, own.shape[1])]
    x = other[:, free]
    against = y @ x - rated @ (x * other[:, [1 - bias]])
    squares = rated @ (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    squares = squares.reshape(len(own), len(free), len(free)) + ridge * np.eye(len(free))
    out = own.copy()
    out[:, free] = np.linalg.solve(squares, against[:, :, None])[:, :, 0]
    return out


def rmse(held_out: Batch, user: np.ndarray, item: np.ndarray) -> tuple[float, float]:
    """Of vectors on a batch, and its standard error; a cold user or item adds nothing."""
    cold = [np.zeros((1, user.shape[1])), np.zeros((1, item.shape[1]))]
    cold[0][0, 1] = cold[1][0, 0] = 1
    user, item = (np.concatenate(both) for both in zip((user, item), cold))
    said = (user[held_out["user"]] * item[held_out["item"]]).sum(axis=1)
    mean, error = mean_and_error((said - held_out["y"]) ** 2, held_out["weight"])
    return mean**0.5, error / (2 * mean**0.5)


def opened(
    source: str, evaluation: str, unique: int, contexts: Sequence[str] = ()
) -> tuple[Batch, Batch, dict]:
    """All rows to train on, all that are held out, and the data's facts."""
    options = {"source": source, "evaluation": evaluation, "eval_rows": 0, "unique": unique}
    try:
        dataset = data.open_dataset("ratings", options | {"contexts": contexts})
    except ValueError as error:
        raise cli.InputError(f"--source: {error}") from error
    train = dataset.train_batch(0, 0, dataset.train_rows)
    return train, dataset.eval_batch(0, dataset.eval_rows), dataset.facts


def main() -> None:
    """Prints a line for each rank."""
    given = flags.FLAGS
    if wrong := [rank for rank in given.ranks if not rank.isdecimal()]:
        raise cli.InputError(f"--ranks: {wrong[0]!r}; a whole number of at least 0")
    ranks = [int(rank) for rank in given.ranks]
    strengths = cli.numbers("strengths", given.strengths)
    sides = {side: opened(given.source, side, given.unique) for side in ("validation", "test")}

    def measured(side: str, rank: int, ridge: float) -> tuple[float, float]:
        train, held_out, facts = sides[side]
        found = factorise(train, facts["user_rows"], facts["item_rows"], rank, ridge)
        return rmse(held_out, *found)

    for rank in ranks:
        validated = {ridge: measured("validation", rank, ridge)[0] for ridge in strengths}
        ridge = min(validated, key=validated.get)
        value, error = measured("test", rank, ridge)
        told = ", ".join(f"{x:g}: {loss:.4f}" for x, loss in validated.items())
        print(f"rank {rank}: RMSE {value:.4f} +- {error:.4f} (ridge {ridge:g}; validation {told})")


if __name__ == "__main__":
    flags.DEFINE_string("source", "msq", "Of data ratings.")
    flags.DEFINE_list("ranks", ["0", "1", "2", "4", "8"], "Places of a vector.")
    flags.DEFINE_list("strengths", ["1", "3", "10"], "Ridges to choose from.")
    flags.DEFINE_integer("unique", 0, "How many ratings to train on; 0: all.")
    cli.run_main(main)
