"""Drawings as codes: squared error against parameters and images of emoji.

python -m scaling.study --config=configs/studies/tokenizer.py --workdir=studies/tokenizer
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "tokenizer",
            "experiment": "configs/tokenizer.py",
            "sizes": (6, 8, 12, 16, 20, 28, 40, 56),
            "budgets": (5e10, 1.6e11, 5e11),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 2.6e-4, "exponent": 0.7},
            "heldout": (4.0,),
            "seeds": (0,),
            "max_epochs": 100.0,
            "law": "",
            "noise": 0.0,
            "metrics": (),
            "bar": {"psnr": 20.0},
        }
    )
