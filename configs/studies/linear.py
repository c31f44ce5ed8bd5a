"""A study whose answer theory knows: exponents 1 in N and 1/2 in D, see configs/linear.py.

python -m scaling.study --config=configs/studies/linear.py --workdir=studies/linear
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "linear",
            "experiment": "configs/linear.py",
            "sizes": (4, 6, 8, 12, 16, 24, 32, 48, 64, 96),
            "budgets": (2e4, 8e4, 3.2e5, 1.28e6, 5.12e6),
            "sizes_per_budget": 5,
            "prior": {"coefficient": 0.26, "exponent": 0.3333},
            "heldout": (4.0,),
            "seeds": (0,),
            "max_epochs": 1.0,
            "law": "",
            "noise": 0.0,
        }
    )
