"""An imitator on a simulated road: loss against parameters and decisions of an expert.

python -m scaling.study --config=configs/studies/driver.py --workdir=studies/driver
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "driver",
            "experiment": "configs/driver.py",
            "sizes": (6, 8, 10, 12, 16, 20, 24, 32),
            "budgets": (2e11, 4e11, 8e11),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 0.12, "exponent": 0.4},
            "heldout": (2.0,),
            "seeds": (0,),
            "max_epochs": 20.0,
            "law": "",
            "noise": 0.0,
            "metrics": ("accuracy", "wheel/return"),
            "bar": {"accuracy": 0.85, "wheel/crashed": 0.035},  # 1.5 of the expert's
        }
    )
