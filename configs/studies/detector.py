"""Digits on photographs: the loss of detection against parameters and composed scenes.

python -m scaling.study --config=configs/studies/detector.py --workdir=studies/detector
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "detector",
            "experiment": "configs/detector.py",
            "sizes": (4, 8, 12, 16, 20, 24),
            "budgets": (1e11, 3e11, 9e11),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 30.0, "exponent": 0.25},
            "heldout": (3.0,),
            "seeds": (0,),
            "max_epochs": 0.0,
            "law": "",
            "noise": 0.0,
            "metrics": ("map_50", "map"),
            "bar": {"map_50": 0.8, "map": 0.45},
        }
    )
