"""What all experiments share. An experiment's file starts from this and sets the rest."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Training fields with the values that an experiment keeps unless it says otherwise."""
    return ConfigDict(
        {
            "seed": 0,
            "steps": 1000,
            "batch_size": 32,
            "accumulate": 1,
            "microbatches": 0,
            "log_every": 10,
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-3,
                "weight_decay": 0.1,
                "b1": 0.9,
                "b2": 0.95,
                "eps": 1e-8,
                "clip_norm": 1.0,
            },
            "schedule": {"name": "cosine", "warmup": 0.1, "cooldown": 0.0, "final": 0.0},
            "evaluation": {"every": 0, "batch_size": 64},
            "checkpoint": {"every": 500, "keep": 2, "best": 0},
            "mesh": {
                "slice": 1,
                "data": -1,
                "fsdp": 1,
                "tensor": 1,
                "context": 1,
                "expert": 1,
                "stage": 1,
            },
        }
    )
