"""lstm on the embedded corpus: a byte-level language model that reads one byte after another.

python -m train --config=configs/lstm.py:width=64,tokens=1e6 --workdir=runs/lstm
"""

from ml_collections import ConfigDict

from configs import base, gpt


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and tokens."""
    return base.run(recipe, dials, 64, 1e6)


def recipe(width: int, tokens: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of training tokens.

    Data and steps are those of configs/gpt.py, so that losses compare. Measured
    (benchmarks/results/families/lstm.md): two layers beat one; the best learning rate is about
    0.02 at width 32 and 0.01 at 64, and is taken to fall as 1 / width, below 0.02.
    """
    config = gpt.recipe(width, tokens)
    config.model = {
        "name": "lstm",
        "vocab_size": 0,  # as many as the data's tokenizer has
        "layers": 2,
        "width": width,
        "tied": True,
        "dropout": 0.0,
        "dtype": "float32",
    }
    config.optimizer.learning_rate = min(0.02, 0.64 / width)
    return config
