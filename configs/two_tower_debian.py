"""two_tower on packages of Debian: what else a package depends on, told by its other dependencies.

    python -m train --config=configs/two_tower_debian.py:width=32,interactions=8.9e5 \\
        --workdir=runs/packages

The index is the one that your apt-get fetches, and changes with releases; a file of your own is
`--config.data.source=debian:PATH`. Recall and NDCG are of one dependency of each package among the
3,072 that most packages have.
"""

from ml_collections import ConfigDict

from configs import base, two_tower

PASSES = 5  # over the interactions of a run, of every run
MOST = 150_000  # interactions; beyond, all that there are: some 177,000, or 152,000 to tune on


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and interactions."""
    return base.run(recipe, dials, 32, 8.9e5)


def recipe(width: int, interactions: float) -> ConfigDict:
    """Everything that follows from a width and a number of interactions; see configs/two_tower.py.

    Of 34,764 dependencies those are kept that most packages have: a row's softmax and ranking are
    then whole and still cheap, each is known from ten packages or more, and the size of the
    tables is the same whatever the release. Measured on the validation side, width 32
    (benchmarks/results/families/two_tower.md): five passes are enough; batches of 512, a dropout of
    .2 and a decay of .03 are each better than what the small set of students wants.
    """
    config = two_tower.recipe(width, interactions)
    unique = max(1, round(interactions / PASSES))
    config.data.update(source="debian", items=3072, unique=unique if unique < MOST else 0)
    config.model.dropout = 0.2
    config.batch_size = 512
    config.log_every = max(1, round(interactions / config.batch_size / 200))
    config.optimizer.weight_decay = 0.03
    return config
