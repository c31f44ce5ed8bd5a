"""moe on the embedded corpus: gpt with a mixture of experts in place of each perceptron.

python -m train --config=configs/moe.py:width=128,tokens=1e6 --workdir=/tmp/run1
"""

from ml_collections import ConfigDict

from configs import base, gpt


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and tokens."""
    return base.run(recipe, dials, 64, 1e6)


def recipe(width: int, tokens: float) -> ConfigDict:
    """The family's ladder: that of gpt, width by width, with 8 experts.

    Opinions, not tuned here: a token goes to 2 experts half as wide as gpt's perceptron, so that as
    many parameters work for it as in gpt; a capacity of 2 (GShard) drops little and doubles the
    perceptrons' FLOPs; weights of the losses are those of Switch and ST-MoE.
    """
    config = gpt.recipe(width, tokens)
    config.model.update(
        name="moe",
        hidden=2 * width,
        experts=8,
        top_k=2,
        capacity=2.0,
        balance_loss=0.01,
        router_z_loss=0.001,
        remat="full",  # "auto" was not measured here
    )
    return config
