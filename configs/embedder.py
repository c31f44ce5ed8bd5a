"""embedder on emoji: which two drawings, in two styles, are of the same one.

python -m train --config=configs/embedder.py:width=16,pairs=64000 --workdir=/tmp/embedder1
"""

from ml_collections import ConfigDict

from configs import base

PASSES = 32  # over the identities of a run, of every run
MOST = 1_400  # identities; beyond, all that there are
TRIAL = UNITS_A_ROW = 32  # identities, each a pair


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and pairs."""
    return base.run(recipe, dials, 8, 32_000, UNITS_A_ROW)


def recipe(width: int, pairs: float) -> ConfigDict:
    """The family's ladder.

    A run makes the same number of passes whatever its size, over as many identities as that takes,
    until it has all: then D is passes, each augmented anew. Opinions: two stages, and an embedding
    of eight times the width, keep all parts in proportion; a trial is a batch. Measured on the
    validation side (benchmarks/results/families/embedder.md): norms of each channel over an image
    are far better than over groups, all last pixels than their mean, two stages than three; a
    temperature of .1 than .2; a learning rate of .01 than .003 at width 8. The rate of wider ones
    and the move by two pixels are guesses.
    """
    config = base.get_config()
    unique = max(TRIAL, round(pairs / PASSES))
    config.data = {
        "name": "identities",
        "source": "emoji",
        "evaluation": "test",
        "eval_identities": 0,
        "unique": unique if unique < MOST else 0,
        "trial": TRIAL,
        "side": 32,
        "flip": True,
        "crop": 2,
        "cutout": 0,
        "tint": 0.0,
    }
    config.model = {
        "name": "embedder",
        "stages": 2,
        "width": width,
        "norm": "instance",
        "dtype": "float32",
        "stem": 1,
        "blocks": 1,
        "dimension": 8 * width,
        "identities": 0,
    }
    config.task = {"name": "match", "objective": "contrastive", "temperature": 0.1, "margin": 0.2}
    config.batch_size = 1
    config.log_every = max(1, round(pairs / TRIAL / 200))
    config.checkpoint.every = 5000
    config.evaluation.batch_size = 1
    config.optimizer.learning_rate = min(0.01, 0.08 / width)
    config.optimizer.b2 = 0.99
    return config
