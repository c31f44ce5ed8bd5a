"""seq2seq on the Bible with an encoder and a decoder of depths of their own, at one width.

    python -m train --config=configs/seq2seq_depths.py:depths=31,tokens=1.2e6 --workdir=runs/deep

Two digits are the depths: 31 is three layers of the encoder and one of the decoder.
"""

from ml_collections import ConfigDict

from configs import base, seq2seq

WIDTH = 32


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are depths and tokens."""
    return base.run(recipe, dials, 22, 1.2e6, seq2seq.UNITS_A_ROW)


def recipe(depths: int, tokens: float) -> ConfigDict:
    """That of configs/seq2seq.py at a width, but for the two depths."""
    encoder, decoder = divmod(depths, 10)
    if not (1 <= encoder <= 9 and 1 <= decoder <= 9):
        raise base.BadDial(f"depths: {depths}; two digits from 1 to 9")
    config = seq2seq.recipe(WIDTH, tokens)
    config.model.encoder_layers, config.model.decoder_layers = encoder, decoder
    return config
