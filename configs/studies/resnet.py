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
            "sizes": (2, 3, 4, 5, 6, 8, 10, 12, 16, 20),
            "budgets": (1e10, 3e10, 9e10, 2.7e11),
            "sizes_per_budget": 5,
            "prior": {"coefficient": 0.18, "exponent": 0.425},
            "heldout": (16.0,),
            "seeds": (0,),
            "max_epochs": 10.0,
            "law": "",
            "noise": 0.0,
        }
    )
