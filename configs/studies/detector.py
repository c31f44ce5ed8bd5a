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
            "sizes": (4, 6, 8, 10, 12, 14, 16, 20),
            "budgets": (1.9e11, 6e11, 1.9e12),
            "sizes_per_budget": 3,
            "prior": {"coefficient": 0.477, "exponent": 0.38},
            "heldout": (2.0,),
            "seeds": (0,),
            "max_epochs": 0.0,
            "law": "",
            "noise": 0.0,
            "metrics": ("map_50", "map"),
            "bar": {"map_50": 0.8, "map": 0.45},
        }
    )
