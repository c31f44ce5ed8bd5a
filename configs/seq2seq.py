"""seq2seq on the Bible: from the English of King James to the French of Segond, verse by verse.

    python -m train --config=configs/seq2seq.py:width=64,tokens=2e6 --workdir=runs/translation

Units are target tokens. BLEU and chrF are of three whole books (Job, Ruth, Jonah), by greedy
decoding; `--config.data.evaluation=validation` evaluates three others, to tune on.
"""

from ml_collections import ConfigDict

from configs import base

UNITS_A_ROW = 39.74  # target tokens of a verse, in the tokens and lengths below


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and tokens."""
    return base.run(recipe, dials, 64, 2e6, UNITS_A_ROW)


def recipe(width: int, tokens: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of target tokens.

    Opinions: two layers and two heads on either side, perceptrons 4 wide. Measured on the
    validation books, at width 32 and 3e11 FLOPs: 4 verses a step (loss 4.36) beat 16 (4.69) and 2
    (4.45); learning rates of .006, .010 and .014 gave 4.40, 4.36 and 4.44, and the best is taken to
    fall as 1 / width; a vocabulary of 2000 (2.23 bits a byte) beats 1000 (2.33).
    """
    if width % 4 or not 4 <= width <= base.LARGEST[int]:
        raise base.BadDial(f"width: {width}; must be a multiple of 4, above 0")
    config = base.get_config()
    config.data = {
        "name": "pairs",
        "source": "bible:en-fr",
        "tokenizer": "bpe:2000",
        "source_length": 64,
        "cut_source": False,
        "target_length": 64,
        "evaluation": "test",
        "eval_rows": 0,
        "unique": 0,
        "cleaning": base.CLEANING,
    }
    config.model = {
        "name": "seq2seq",
        "vocab_size": 0,  # as many as the data's tokenizer has
        "encoder_layers": 2,
        "decoder_layers": 2,
        "width": width,
        "heads": 2,
        "hidden": 4 * width,
        "activation": "gelu",
        "qk_norm": True,
        "rope_base": 10_000.0,
        "tied": True,
        "copy": False,
        "dropout": 0.0,
        "remat": "full",
        "dtype": "float32",
    }
    config.task = {"name": "translate", "label_smoothing": 0.0}
    config.batch_size = 4
    config.log_every = max(1, round(base.steps(config, tokens, UNITS_A_ROW) / 200))
    config.checkpoint.every = 5000
    config.evaluation.batch_size = 64
    config.optimizer.learning_rate = min(0.02, 0.3 / width)
    config.optimizer.b2 = 0.98
    return config
