"""lstm_classifier on sentences that people rated: positive or negative.

    python -m train --config=configs/lstm_classifier.py:width=32,texts=6.2e4 --workdir=runs/feelings

Accuracy, precision, recall, F1 and AUC are of a tenth of the texts, held out by a hash; parts by
where they are from: `python -m train.examine --workdir=runs/feelings --slices=domain`.
"""

from ml_collections import ConfigDict

from configs import base

PASSES = 4  # over the texts of a run, of every run
MOST = 15_000  # texts; beyond, all that there are


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and texts."""
    return base.run(recipe, dials, 32, 6.2e4)


def recipe(width: int, texts: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of texts seen.

    A run makes the same number of passes whatever its size, over as many texts as that takes: so D
    stands for unique texts, and a law in D is one of them. Nine texts in ten have at most 48
    tokens. Measured on the validation side (benchmarks/results/families/lstm_classifier.md): at
    four passes a dropout of 0.5 beats 0.7 and, by far, 0.2 at eight; learning rates of 0.001, 0.003
    and 0.01 gave .583, .576 and .608 nats at width 32, and twice and four times as much as there is
    better at 16 and at 8.
    """
    config = base.get_config()
    unique = round(texts / PASSES)
    config.data = {
        "name": "labelled_text",
        "source": "vader",
        "tokenizer": "bpe:4000",
        "length": 48,
        "evaluation": "test",
        "eval_rows": 0,
        "unique": unique if unique < MOST else 0,
        "cleaning": base.CLEANING,
    }
    config.model = {
        "name": "lstm_classifier",
        "vocab_size": 0,  # as many as the data's tokenizer has
        "classes": 0,  # as many as the data have
        "layers": 1,
        "width": width,
        "dropout": 0.5,
        "dtype": "float32",
    }
    config.task = {"name": "classify", "smoothing": 0.0}
    config.batch_size = 32
    config.log_every = max(1, round(texts / config.batch_size / 200))
    config.checkpoint.every = 5000
    config.evaluation.batch_size = 256
    config.optimizer.learning_rate = min(0.02, 0.096 / width)
    config.optimizer.b2 = 0.99
    return config
