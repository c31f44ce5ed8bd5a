"""bert on the sentences that people rated, without their ratings: what fine-tuning may begin with.

    python -m train --config=configs/bert_texts.py:width=32,texts=1.5e5 --workdir=runs/read
    python -m train --config=configs/bert_classifier.py:width=32,texts=4e3 --workdir=runs/tuned \\
      --config.start.run=runs/read \\
      --config.start.take="('params/embedding','params/in_norm/*','params/blocks/*','params/out_norm/*')"

Texts and tokens are those of configs/bert_classifier.py, and held-out ones are not read.
"""

from ml_collections import ConfigDict

from configs import base, bert_classifier


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and texts."""
    return base.run(recipe, dials, 32, 1.5e5)


def recipe(width: int, texts: float) -> ConfigDict:
    """Everything that follows from a width and a number of texts seen, of all that there are."""
    config = bert_classifier.recipe(width, texts)
    config.data.unique = 0
    config.model.name, config.model.dropout = "bert", 0.1
    del config.model.classes
    config.task = {"name": "masked_token", "share": 0.15, "padded": True}
    config.optimizer.learning_rate = min(0.02, 0.16 / width)
    return config
