"""text2image on Fashion-MNIST, whose captions are the names of its ten classes.

python -m train --config=configs/text2image_clothes.py:width=48,tokens=8e6 --workdir=/tmp/clothes

The easy case: ten captions, and 6,000 pictures of each to train on. Three minutes on one core of
two: 2.73 nats per code, class by likelihood .83.
"""

from ml_collections import ConfigDict

from configs import base, text2image

UNITS_A_ROW = 49  # codes of a picture
ASKED = 1_000  # pictures whose class is looked for among all ten


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and tokens (codes seen)."""
    return base.run(recipe, dials, 48, 8e6, UNITS_A_ROW)


def recipe(width: int, tokens: float) -> ConfigDict:
    """That of configs/text2image.py, on pictures as they are and whole captions."""
    config = text2image.recipe(width, tokens)
    config.data.update(
        source="images:fashion_mnist",
        tokenizer="fashion_mnist_codes",
        sha256="78203f5b081373f1eb0dba7a8bac9b7af13d676bc6785ab04b9d2e7707d787bf",
        moved=0,
        text=2,
        words=12,
        dropped=0.0,
    )
    asked = config.data.to_dict() | {"eval_rows": ASKED, "others": 9}
    further = {"task": {"name": "draw"}, "every": 0, "batch_size": 50}
    config.evals = {"retrieval": {"data": asked, **further}}
    config.log_every = max(1, round(base.steps(config, tokens, UNITS_A_ROW) / 200))
    config.evaluation.batch_size = 200
    return config
