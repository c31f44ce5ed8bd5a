"""crossed on InstEval: lecturers' marks told by who gives them, to whom, and where.

    python -m train --config=configs/crossed.py:width=4,ratings=1.3e6 --workdir=runs/marks

Ratings of your own, a CSV with the columns user, item, rating, perhaps time, and those that are to
be read beside them, need the numbers of all three too:
`--config.data.source=csv:PATH --config.data.unique=0 --config.data.contexts="('genre','month')"
--config.model.user_rows=U --config.model.item_rows=I --config.model.context_rows=V`, where V counts
the values of all these columns.
"""

from ml_collections import ConfigDict

from configs import base

PASSES = 20  # over the ratings of a run, of every run
ALL = 66_252  # ratings to train on; 59,018 without those to tune on
MOST = 64_000  # beyond, all that there are
BIASES, VECTORS = 10.0, 300.0  # ridges


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and ratings."""
    return base.run(recipe, dials, 4, 1.3e6)


def recipe(width: int, ratings: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of ratings seen.

    A run makes the same number of passes whatever its size, over as many ratings as that takes: so
    D stands for unique ratings. Measured on the validation side, width 4
    (benchmarks/results/families/crossed.md).
    """
    config = base.get_config()
    unique = max(1, round(ratings / PASSES))
    known = min(unique, ALL)
    config.data = {
        "name": "ratings",
        "source": "insteval",
        "evaluation": "test",
        "eval_rows": 0,
        "unique": unique if unique < MOST else 0,
        "contexts": ("studage", "lectage", "service", "dept"),
    }
    config.model = {
        "name": "crossed",
        "user_rows": 0,  # as many as the data have
        "item_rows": 0,
        "context_rows": 0,
        "contexts": 0,
        "width": width,
        "layers": 2,
        "hidden": 8 * width,
        "bias_penalty": BIASES / known,
        "vector_penalty": VECTORS / known,
    }
    config.task = {"name": "regression"}
    config.batch_size = 512
    config.log_every = max(1, round(ratings / config.batch_size / 200))
    config.checkpoint.every = 0
    config.evaluation.batch_size = 4096
    # The ridges are all the decay there is.
    config.optimizer.update(learning_rate=0.01, weight_decay=0.0, b2=0.99, clip_norm=0.0)
    return config
