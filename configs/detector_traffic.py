"""detector of cars on the simulated road, seen from above: where a driver's neighbours are.

python -m train --config=configs/detector_traffic.py:width=8,images=5e4 --workdir=/tmp/traffic1
"""

from ml_collections import ConfigDict

from configs import base, detector


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and images."""
    return base.run(recipe, dials, 8, 50_000)


def recipe(width: int, images: float) -> ConfigDict:
    """That of the detector, but for the data; guesses, nothing was tuned.

    A pixel is 2.5 m by an eighth of a lane, so a car is two pixels long and four wide: a box like
    it shares half of the car's (mAP@.5) where it lies within 1.7 m of it along the road.
    """
    config = detector.recipe(width, images)
    config.data = {
        "name": "traffic",
        "seed": 0,
        "episodes": 512,
        "evaluation": "test",
        "eval_rows": 1000,
        "side": 32,
        "noise": 16.0,
    }
    config.task.box_weight = 2.0
    return config
