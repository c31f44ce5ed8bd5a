"""A study whose answer is known: exponents 1 in N and 1/2 in D, see configs/linear.py. Under a minute.

    python -m scaling.study --config=configs/studies/linear.py --workdir=studies/linear
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "linear",
            "experiment": "configs/linear.py",
            "sizes": (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64),
            "budgets": (1e4, 4e4, 1.6e5, 6.4e5, 2.56e6),
            "sizes_per_budget": 5,
            "prior": {"coefficient": 0.13, "exponent": 0.3333},
            "heldout": (4.0,),
            "seeds": (0,),
            "max_epochs": 1.0,
        }
    )
