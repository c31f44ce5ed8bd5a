"""bert on the embedded corpus: a byte-level masked language model.

    python -m train --config=configs/bert.py:width=64,tokens=1e6 --workdir=runs/bert

D counts tokens seen, of which 15% are asked for. The weights of one block serve all layers with
`--config.model.shared`, and `--config.model.embedding_width=16` makes the embedding narrower.
"""

from ml_collections import ConfigDict

from configs import base, bert_classifier, gpt

BYTES = 259  # of a byte-level vocabulary: all bytes, the separator, padding and the mask


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and tokens."""
    return base.run(recipe, dials, 64, 1e6)


def recipe(width: int, tokens: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of tokens seen.

    The blocks are those of configs/bert_classifier.py, so that it can be started from such a run;
    data those of configs/gpt.py, but for rows of 128 tokens. Measured at width 32 and a million
    tokens: 4 rows a step (1.711 nats) beat 2 (1.760) and 8 (1.757), at the best of two or three
    learning rates each, which is taken to fall as 1 / width.
    """
    config = gpt.recipe(width, tokens)
    model = bert_classifier.recipe(width, 1.0).model.to_dict()
    del model["classes"]
    config.model = model | {"name": "bert", "vocab_size": BYTES, "length": 128, "dropout": 0.0}
    config.data.sequence_length = 128
    config.task = {"name": "masked_token", "share": 0.15, "padded": False}
    config.batch_size = 4
    config.log_every = max(1, round(base.steps(config, tokens) / 200))
    config.optimizer.learning_rate = min(0.02, 0.32 / width)
    return config
