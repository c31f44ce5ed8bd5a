"""gpt on the embedded corpus: a byte-level language model.

python -m train --config=configs/gpt.py --workdir=/tmp/run1
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """One run."""
    config = recipe(64, 1e6)
    config.steps = 1000
    return config


def recipe(width: int, D: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of training tokens.

    Opinions: depth grows with width at 24 channels a layer, heads are about 32 wide (narrow heads
    are slow on every device), the perceptron is 4 wide.
    """
    config = base.get_config()
    heads = min(
        (h for h in range(1, width) if width % (2 * h) == 0), key=lambda h: abs(width / h - 32)
    )
    config.data = {
        "name": "text",
        "source": "embedded",
        "tokenizer": "bytes",
        "sequence_length": 128,
        "eval_tokens": 262_144,
    }
    config.model = {
        "name": "gpt",
        "vocab_size": 257,
        "layers": max(2, round(width / 24)),
        "width": width,
        "heads": heads,
        "kv_heads": heads,
        "hidden": 4 * width,
        "activation": "gelu",
        "qk_norm": True,
        "rope_base": 10_000.0,
        "tied": True,
        "dropout": 0.0,
        "remat": True,
        "dtype": "float32",
    }
    config.task = {"name": "next_token", "z_loss": 0.0}
    config.batch_size = 8
    config.optimizer.learning_rate = 4e-3
    return config
