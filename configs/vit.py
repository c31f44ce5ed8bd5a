"""vit on Fashion-MNIST: a transformer over patches of 4 x 4 pixels.

python -m train --config=configs/vit.py:width=32,images=4e5 --workdir=/tmp/vit1
"""

from ml_collections import ConfigDict

from configs import base, cnn


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and images."""
    return base.run(recipe, dials, 32, 32_000)


def recipe(width: int, images: float) -> ConfigDict:
    """The family's ladder: images, passes and batches are those of cnn.

    Opinions: heads of 16, or one of the width where that is less; two layers, and one more for
    every 16 of width beyond 32; a perceptron of four times the width. Measured on the validation
    side (benchmarks/results/families/vit.md): the best learning rate is .01 or more at width 16,
    .006 or more at width 32 and .004 or more at width 48; a learnt query in place of the mean,
    dropout and moved images do not help at so few passes.
    """
    config = cnn.recipe(width, images)
    config.model = {
        "name": "vit",
        "classes": 0,  # as many as the data has
        "patch": 4,
        "layers": max(2, width // 16),
        "width": width,
        "heads": max(1, width // 16),
        "hidden": 4 * width,
        "pool": "mean",
        "activation": "gelu",
        "qk_norm": True,
        "dropout": 0.0,
        "remat": "full",
        "dtype": "float32",
    }
    config.optimizer.learning_rate = min(0.02, 0.2 / width)
    return config
