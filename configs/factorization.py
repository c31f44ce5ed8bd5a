"""factorization of what people answered about their moods: 3,893 sheets, 75 words, answers 0 to 3.

    python -m train --config=configs/factorization.py:rank=8,ratings=5e6 --workdir=runs/moods

Lecturers' marks are `--config.data.source=insteval --config.data.unique=0`. Ratings of your own, a
CSV with the columns user, item, rating and perhaps time, need the numbers of both too:
`--config.data.source=csv:PATH --config.data.unique=0 --config.model.user_rows=U
--config.model.item_rows=I`.
"""

from ml_collections import ConfigDict

from configs import base

PASSES = 40  # over the ratings of a run, of every run
ALL = 248_320  # ratings to train on; 220,687 without those to tune on
MOST = 240_000  # beyond, all that there are
RIDGE = 11.0  # on the tables, of all ratings together


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are rank and ratings."""
    return base.run(recipe, dials, 4, 5e6)


def recipe(rank: int, ratings: float) -> ConfigDict:
    """The family's ladder: everything that follows from a rank and a number of ratings seen.

    A run makes the same number of passes whatever its size, over as many ratings as that takes: so
    D stands for unique ratings, and a law in D is one of them. Measured on the validation side
    (benchmarks/results/families/factorization.md): with 15,000 ratings 20 passes are too few; a
    learning rate of .06 is better than .03 and .01 at ranks 2 and 8; batches of 64 and 128 are
    worse than 512 by far, as Adam moves rows that a batch has nothing of; the best ridge grows
    from 8 with 15,000 ratings to 11 or more with all.
    """
    config = base.get_config()
    unique = max(1, round(ratings / PASSES))
    known = min(unique, ALL)
    config.data = {
        "name": "ratings",
        "source": "msq",
        "evaluation": "test",
        "eval_rows": 0,
        "unique": unique if unique < MOST else 0,
    }
    config.model = {
        "name": "factorization",
        "user_rows": 0,  # as many as the data have
        "item_rows": 0,
        "rank": rank,
        "penalty": RIDGE * (known / ALL) ** 0.15 / known,
    }
    config.task = {"name": "regression"}
    config.batch_size = 512
    config.log_every = max(1, round(ratings / config.batch_size / 200))
    config.checkpoint.every = 0
    config.evaluation.batch_size = 4096
    config.optimizer.update(learning_rate=0.06, weight_decay=0.0, b2=0.99, clip_norm=0.0)
    return config
