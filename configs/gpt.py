"""gpt on the embedded corpus: a byte-level language model.

python -m train --config=configs/gpt.py:width=128,tokens=1e6 --workdir=/tmp/run1
"""

from ml_collections import ConfigDict

from configs import base


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and tokens."""
    return base.run(recipe, dials, 64, 1e6)


def recipe(width: int, tokens: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of training tokens.

    Opinions: layers and heads are width / 64 as in GPT-2 small, but at least 2; the perceptron is
    4 wide. Measured (LOG.md), for widths below 64 and D below 2e6: 64 tokens of context and 128
    tokens a step beat more of either at equal FLOPs; the best learning rate falls as 1 / width,
    below 0.02. Larger models want longer contexts and steps: set them.
    """
    if width % 2 or not 2 <= width <= base.LARGEST[int]:
        raise base.BadDial(f"width: {width}; must be even and above 0")
    config = base.get_config()
    around = max(2, round(width / 64))
    heads = min((h for h in range(1, width) if width % (2 * h) == 0), key=lambda h: abs(h - around))
    config.data = {
        "name": "text",
        "source": "embedded",
        "tokenizer": "bytes",
        "sequence_length": 64,
        "eval_tokens": 262_144,
        "cleaning": base.CLEANING,
    }
    config.model = {
        "name": "gpt",
        "vocab_size": 0,  # as many as the data's tokenizer has
        "layers": around,
        "width": width,
        "heads": heads,
        "kv_heads": heads,
        "hidden": 4 * width,
        "activation": "gelu",
        "qk_norm": True,
        "norm_epsilon": 1e-6,
        "embedding_norm": True,
        "rope_base": 10_000.0,
        "tied": True,
        "dropout": 0.0,
        "remat": "auto",
        "dtype": "float32",
        "quantize": "none",
    }
    config.task = {"name": "next_token", "z_loss": 0.0}
    config.batch_size = 2
    tokens_a_step = config.batch_size * config.data.sequence_length
    config.log_every = max(1, round(tokens / tokens_a_step / 200))
    config.checkpoint.every = 2000
    config.evaluation.batch_size = 64
    config.optimizer.learning_rate = min(0.02, 0.24 / width)
    config.optimizer.b2 = 0.99
    return config
