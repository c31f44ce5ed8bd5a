"""bert_classifier on sentences that people rated: a small transformer, from nothing or fine-tuned.

python -m train --config=configs/bert_classifier.py:width=32,texts=6.2e4 --workdir=runs/feelings
"""

from ml_collections import ConfigDict

from configs import base, lstm_classifier


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and texts."""
    return base.run(recipe, dials, 32, 6.2e4)


def recipe(width: int, texts: float) -> ConfigDict:
    """The family's ladder: data and steps are those of configs/lstm_classifier.py.

    Measured on the validation side at width 32: a dropout of 0.3 (.602 nats) beats 0.5 (.611).
    """
    if width % 4:
        raise base.BadDial(f"width: {width}; must be a multiple of 4")
    config = lstm_classifier.recipe(width, texts)
    config.model = {
        "name": "bert_classifier",
        "vocab_size": 0,  # as many as the data's tokenizer has
        "layers": 2,
        "shared": False,
        "width": width,
        "embedding_width": 0,
        "positions": "rotary",
        "length": 48,
        "heads": 2,
        "hidden": 4 * width,
        "activation": "gelu",
        "dropout": 0.3,
        "remat": "none",
        "dtype": "float32",
        "classes": 0,  # as many as the data have
    }
    config.optimizer.learning_rate = min(0.01, 0.032 / width)
    return config
