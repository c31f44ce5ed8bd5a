import importlib

import flax.linen as nn
import jax
import numpy as np
import pytest

from models.layers import weights
from train import config as configuration
from train import step
from train.compile import ahead

SIZES = {"linear": 8, "gan": 8, "cnn": 8, "resnet": 8, "gpt": 32, "moe": 32, "seq2seq": 32}
SIZES |= {"lstm": 8, "lstm_classifier": 8, "bert": 32, "bert_classifier": 32}


def boxes(family, size, **changes):
    """The declared weights of a family's recipe, by path."""
    config = importlib.import_module(f"configs.{family}").recipe(size, 1e4)
    config.model.update(changes)
    config = configuration.resolve(config.to_dict())
    params, _ = step.abstract_variables(config, ahead.example_of(config))
    is_box = lambda x: isinstance(x, nn.meta.AxisMetadata)  # noqa: E731
    found = jax.tree_util.tree_leaves_with_path(params, is_leaf=is_box)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): box for path, box in found}


def by_growth(one, two):
    """The role of a weight, by which of its axes are longer in a model of twice the width."""
    names = [name for name in one.names if name not in ("layers", "experts", "gates")]
    grown = [
        a != b for name, a, b in zip(one.names, one.value.shape, two.value.shape) if name in names
    ]
    assert {name for name, more in zip(names, grown) if more} <= weights.GROWS | {"norm"}
    if len(names) == 1:
        return "output" if names == ["features"] else "vector"  # of linear regression
    sides = any(grown[:-1]), grown[-1]
    return {(False, True): "input", (True, True): "hidden", (True, False): "output"}[sides]


@pytest.mark.parametrize(
    ("family", "changes"),
    [(family, {}) for family in SIZES if family not in ("gpt", "lstm", "seq2seq")]
    + [(family, {"tied": tied}) for family in ("gpt", "lstm", "seq2seq") for tied in (True, False)],
)
def test_the_role_of_every_weight_is_how_it_grows(family, changes):
    one, two = (boxes(family, times * SIZES[family], **changes) for times in (1, 2))
    assert one.keys() == two.keys()
    assert {path: box.role for path, box in one.items()} == {
        path: by_growth(box, two[path]) for path, box in one.items()
    }


def test_a_weight_is_what_is_declared_of_it():
    class Layer(nn.Module):
        @nn.compact
        def __call__(self):
            inputs, outputs = {"heads": 8, "head_width": 32}, {"embed": 64}
            return weights.weight(self, "w", inputs, outputs, each={"experts": 3}, gain=0.5)

    box = Layer().init(jax.random.key(0))["params"]["w"]
    assert (box.names, box.role) == (("experts", "heads", "head_width", "embed"), "hidden")
    assert box.value.shape == (3, 8, 32, 64)
    # Of 49,152 values: 0.3%.
    np.testing.assert_allclose(np.std(box.value), 0.5 / (8 * 32) ** 0.5, rtol=0.015)
