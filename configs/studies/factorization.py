"""Biases and vectors of people and moods: squared error against parameters and ratings.

    python -m scaling.study --config=configs/studies/factorization.py --workdir=studies/moods

Laws are of the squared error; a forecast of its root is sealed besides.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "factorization",
            "experiment": "configs/factorization.py",
            "sizes": (1, 2, 3, 4, 5, 6, 8, 10, 12, 16),
            "budgets": (3.6e7, 5.76e7, 9.1e7, 1.44e8),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 26.0, "exponent": 0.35},
            "heldout": (2.0,),
            "seeds": (0,),
            "max_epochs": 65.0,
            "law": "",
            "noise": 0.0,
            "metrics": ("rmse",),
            "bar": {"rmse": 0.572},
        }
    )
