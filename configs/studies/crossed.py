"""Marks of lecturers by who gives them and where: loss against parameters and ratings.

    python -m scaling.study --config=configs/studies/crossed.py --workdir=studies/marks

Laws are of the squared error; a forecast of its root is sealed besides. More parameters hardly
help, so the optimum is at the smallest sizes and the law one in D.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "crossed",
            "experiment": "configs/crossed.py",
            "sizes": (1, 2, 3, 4, 6, 8),
            "budgets": (8e8, 1.6e9, 3.2e9, 6.4e9),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 51.0, "exponent": 0.27},
            "heldout": (2.0,),
            "seeds": (0,),
            "max_epochs": 32.0,
            "law": "",
            "noise": 0.0,
            "metrics": ("rmse",),
            "bar": {"rmse": 1.21},
        }
    )
