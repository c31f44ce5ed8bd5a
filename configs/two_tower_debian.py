"""two_tower on packages of Debian: what else a package depends on, told by its other dependencies.

    python -m train --config=configs/two_tower_debian.py:width=32,interactions=1.8e6 \\
        --workdir=runs/packages

The index is the one that your apt-get fetches, and changes with releases; a file of your own is
`--config.data.source=debian:PATH`. Recall and NDCG are of one dependency of each package among the
3,072 that most packages have.
"""

from ml_collections import ConfigDict

from configs import base, two_tower

PASSES = 10  # over the interactions of a run, of every run
MOST = 150_000  # interactions; beyond, all that there are: some 177,000, or 152,000 to tune on


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and interactions."""
    return base.run(recipe, dials, 32, 1.8e6)


def recipe(width: int, interactions: float) -> ConfigDict:
    """Everything that follows from a width and a number of interactions; see configs/two_tower.py.

    Of 34,764 dependencies those are kept that most packages have: each is then met by ten packages
    or more, a row's softmax and ranking are whole over them, and the size of the tables is known
    whatever the release.
    """
    config = two_tower.recipe(width, interactions)
    unique = max(1, round(interactions / PASSES))
    config.data.update(source="debian", items=3072, unique=unique if unique < MOST else 0)
    return config
