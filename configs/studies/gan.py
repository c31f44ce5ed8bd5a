"""A generator and its critic: distance of their images against parameters and images seen.

python -m scaling.study --config=configs/studies/gan.py --workdir=studies/gan
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "gan",
            "experiment": "configs/gan.py",
            "sizes": (2, 3, 4, 5, 6, 8, 10, 12),
            "budgets": (3e10, 1e11, 3e11),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 4.2, "exponent": 0.35},
            "heldout": (4.0,),
            "seeds": (0,),
            "max_epochs": 10.0,
            "law": "",
            "noise": 0.0,
            "metrics": ("recall",),
            "bar": {"frechet": 17.9},
        }
    )
