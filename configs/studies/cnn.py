"""A plain convolutional classifier: loss against parameters and images of Fashion-MNIST.

python -m scaling.study --config=configs/studies/cnn.py --workdir=studies/cnn
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "cnn",
            "experiment": "configs/cnn.py",
            "sizes": (2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20),
            "budgets": (1e10, 3.2e10, 1e11, 3.2e11),
            "sizes_per_budget": 5,
            "prior": {"coefficient": 0.034, "exponent": 0.5},
            "heldout": (8.0,),
            "seeds": (0,),
            "max_epochs": 10.0,
            "law": "",
            "noise": 0.0,
        }
    )
