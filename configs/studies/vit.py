"""A transformer over patches: loss against parameters and images of Fashion-MNIST.

python -m scaling.study --config=configs/studies/vit.py --workdir=studies/vit
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "vit",
            "experiment": "configs/vit.py",
            "sizes": (4, 8, 12, 16, 20, 24, 32, 40, 48),
            "budgets": (3.2e10, 1e11, 3.2e11, 1e12),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 2.1, "exponent": 0.28},
            "heldout": (2.0,),
            "seeds": (0,),
            "max_epochs": 20.0,
            "law": "",
            "noise": 0.0,
        }
    )
