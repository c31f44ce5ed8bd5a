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
            "sizes": (4, 8, 12, 16, 24),
            "budgets": (6e10, 1.9e11, 6e11),
            "sizes_per_budget": 3,
            "prior": {"coefficient": 12.6, "exponent": 0.28},
            "heldout": (4.0,),
            "seeds": (0,),
            "max_epochs": 0.0,
            "law": "",
            "noise": 0.0,
            "metrics": ("map_50", "map"),
            "bar": {"map_50": 0.8, "map": 0.45},
        }
    )
