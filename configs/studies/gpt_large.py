"""Which model to train on text of your own with the compute there is: small runs, then the model.

    python -m scaling.plan --config=configs/studies/gpt_large.py --workdir=studies/large \\
        --device=h100 --devices=8 --days=14 --unique=2e10

A budget flag scales all of it. A tenth goes to runs of four budgets over 1.5 decades; the model is
the held-out run at 64 times the largest of them, whose loss they forecast. --unique says how many
tokens the text has, which need not be here to plan; without it the data of configs/gpt_large.py are
opened.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "gpt_large",
            "experiment": "configs/gpt_large.py",
            "sizes": (
                *(256, 384, 512, 640, 768, 896, 1024, 1280, 1536, 1792),
                *(2048, 2560, 3072, 3584, 4096, 4608, 5120, 6144, 7168, 8192),
            ),
            "budgets": (1e18, 3.2e18, 1e19, 3.2e19),
            "sizes_per_budget": 5,
            # Of the law below: a guess until the runs are there, and it only centres them.
            "prior": {"coefficient": 0.0478, "exponent": 0.5126},
            "heldout": (64.0,),
            "seeds": (0,),
            "max_epochs": 16.0,  # what a further pass adds fades by then (Muennighoff et al. 2023)
            "law": "besiroglu2024",
            "noise": 0.0,
            "unique": 0.0,
        }
    )
