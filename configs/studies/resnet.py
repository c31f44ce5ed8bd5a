"""A residual network: loss against parameters and images of Fashion-MNIST.

python -m scaling.study --config=configs/studies/resnet.py --workdir=studies/resnet
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "resnet",
            "experiment": "configs/resnet.py",
            "sizes": (4, 8, 12, 16, 20, 24),
            "budgets": (2e10, 7e10, 2.4e11, 8e11),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 0.05, "exponent": 0.48},
            "heldout": (8.0,),
            "seeds": (0,),
            "max_epochs": 10.0,
            "law": "",
            "noise": 0.0,
        }
    )
