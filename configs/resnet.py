"""resnet on Fashion-MNIST: three stages of residual blocks.

python -m train --config=configs/resnet.py:width=16,images=4e5 --workdir=/tmp/resnet1
"""

from ml_collections import ConfigDict

from configs import base, cnn


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and images."""
    return base.run(recipe, dials, 16, 32_000)


def recipe(width: int, images: float) -> ConfigDict:
    """The family's ladder: images, passes and batches are those of cnn.

    Measured on the validation side (benchmarks/results/families/resnet.md): a stem that takes the
    maximum of 2 x 2 pixels beats one of stride 2 at equal FLOPs; norms over the batch are better
    and quicker than those over groups; the best learning rate is .02 at width 8, .01 at width 16.
    """
    config = cnn.recipe(width, images)
    config.model = {
        "name": "resnet",
        "classes": 0,  # as many as the data has
        "stages": 3,
        "width": width,
        "norm": "batch",
        "dtype": "float32",
        "stem": 1,
        "blocks": 1,
    }
    config.optimizer.learning_rate = min(0.02, 0.16 / width)
    return config
