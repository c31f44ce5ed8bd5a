"""two_tower on InstEval: which lecturer a student has had, told by the others that he has had.

    python -m train --config=configs/two_tower.py:width=16,interactions=1e6 --workdir=runs/lecturers

Recall and NDCG are of one lecturer of each student among all 1,128. Rows of your own, a CSV with
the columns user, item and perhaps time, need the number of items too:
`--config.data.source=csv:PATH --config.data.unique=0 --config.model.item_rows=I`.
"""

from ml_collections import ConfigDict

from configs import base

PASSES = 10  # over the interactions of a run, of every run
MOST = 66_000  # interactions; beyond, all that there are, 70,465 or 67,509 without those to tune on


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and interactions."""
    return base.run(recipe, dials, 16, 1e6)


def recipe(width: int, interactions: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of interactions.

    A run makes the same number of passes whatever its size, over as many interactions as that
    takes: so D stands for unique interactions. Measured on the validation side, width 16
    (benchmarks/results/families/two_tower.md): ten passes at a learning rate of .03 are better than
    twenty at .01; the perceptron helps, a dropout of .2 and decays of .03 and .3 change little, and
    a decay of 1 is too strong.
    """
    config = base.get_config()
    unique = max(1, round(interactions / PASSES))
    config.data = {
        "name": "interactions",
        "source": "insteval",
        "length": 64,
        "evaluation": "test",
        "eval_rows": 0,
        "unique": unique if unique < MOST else 0,
    }
    config.model = {
        "name": "two_tower",
        "item_rows": 0,  # as many as the data have
        "width": width,
        "hidden": 2 * width,
        "dropout": 0.5,
    }
    config.task = {"name": "ranking"}
    config.batch_size = 256
    config.log_every = max(1, round(interactions / config.batch_size / 200))
    config.checkpoint.every = 0
    config.evaluation.batch_size = 512
    config.optimizer.learning_rate = 0.03
    config.optimizer.b2 = 0.99
    return config
