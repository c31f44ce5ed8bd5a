"""text2image on emoji: a caption, then the 64 codes of a drawing.

python -m train --config=configs/text2image.py:width=32,tokens=1e6 --workdir=/tmp/drawing1
"""

from ml_collections import ConfigDict

from configs import base

UNITS_A_ROW = 64  # codes of a drawing
ASKED = 128  # drawings whose caption is looked for among 32


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and tokens (codes seen)."""
    return base.run(recipe, dials, 32, 1e6, UNITS_A_ROW)


def recipe(width: int, tokens: float) -> ConfigDict:
    """The family's ladder."""
    if width % 4 or width < 4:
        raise base.BadDial(f"width: {width}; must be a multiple of 4")
    config = base.get_config()
    heads = min(
        (h for h in range(1, width) if width % (2 * h) == 0), key=lambda h: abs(h - width / 8)
    )
    config.data = {
        "name": "captioned",
        "source": "emoji",
        "evaluation": "test",
        "eval_rows": 0,
        "unique": 0,
        "tokenizer": "emoji_codes",
        "sha256": "9d31df1de2bf43ff0333db1cabfabdebc88f8902e03c09109a3617ad3e4b3075",
        "moved": 1,
        "text": 16,
        "words": 1_600,
        "dropped": 0.1,
        "bare": 0.1,
        "others": 0,
    }
    config.model = {
        "name": "text2image",
        "vocab_size": 0,
        "layers": 2,
        "width": width,
        "heads": heads,
        "kv_heads": heads,
        "hidden": 4 * width,
        "activation": "gelu",
        "qk_norm": True,
        "rope_base": 10_000.0,
        "tied": False,
        "dropout": 0.0,
        "remat": "full",
        "dtype": "float32",
        "quantize": "none",
        "text": 0,
        "places": 0,
        "codes": 0,
    }
    config.task = {"name": "draw"}
    further = {"task": {"name": "draw"}, "every": 0, "batch_size": 32}
    combined = config.data.to_dict() | {"evaluation": "compositions"}
    asked = config.data.to_dict() | {"eval_rows": ASKED, "others": 31}
    config.evals = {
        "compositions": {"data": combined, **further},
        "retrieval": {"data": asked, **further},
    }
    config.batch_size = 8
    steps = tokens / UNITS_A_ROW / config.batch_size
    config.log_every = max(1, round(steps / 200))
    config.checkpoint.every = 5000
    config.evaluation.batch_size = 32
    config.optimizer.learning_rate = min(0.02, 0.24 / width)
    config.optimizer.b2 = 0.99
    return config
