"""seq2seq on docstrings of Python packages: from what follows to the first line.

    python -m train --config=configs/summary.py:width=64,tokens=2e6 --workdir=runs/summary

Units are target tokens. ROUGE-L is of modules that no run was trained on, by greedy decoding;
`--config.data.evaluation=validation` evaluates others, to tune on.
"""

from ml_collections import ConfigDict

from configs import base, seq2seq

UNITS_A_ROW = 17.2  # target tokens of a first line, in the tokens and lengths below


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and tokens."""
    return base.run(recipe, dials, 64, 2e6, UNITS_A_ROW)


def recipe(width: int, tokens: float) -> ConfigDict:
    """That of configs/seq2seq.py on other texts."""
    config = seq2seq.recipe(width, tokens)
    config.data.update(
        source="docstrings",
        tokenizer="bpe:4000",
        source_length=128,
        cut_source=True,
        target_length=40,
        cleaning=base.CLEANING | {"similar": 0.8},
    )
    config.model.copy = True
    config.model.encoder_layers = 1
    config.batch_size = 8
    config.log_every = max(1, round(base.steps(config, tokens, UNITS_A_ROW) / 200))
    return config
