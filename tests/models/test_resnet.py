import flax.linen as nn
import jax
import numpy as np
import pytest

from models import resnet
from models.layers import residual
from tests.models.layers.test_convolution import images, reference

VALUES = {
    "classes": 3,
    "stages": 2,
    "width": 4,
    "norm": "batch",
    "dtype": "float32",
    "stem": 0,
    "blocks": 2,
}


def built(shape=(2, 8, 8, 1), **changes):
    model, x = resnet.Model(resnet.Config(**VALUES | changes)), images(shape)
    return model, x, nn.meta.unbox(model.init(jax.random.key(0), {"image": x}))


def moved(variables):
    leaves, tree = jax.tree.flatten(variables)
    return jax.tree.unflatten(
        tree, [leaf + 0.1 * abs(images(leaf.shape, i)) for i, leaf in enumerate(leaves)]
    )


def test_a_pass_is_what_its_layers_are_one_by_one():
    model, x, variables = built()
    variables = moved(variables)
    params, kept = (jax.tree.map(np.asarray, variables[k]) for k in ("params", "batch_stats"))

    def layer(h, own, stats, name, stride=1):
        h = reference(h, own[name]["kernel"])
        if stride == 2 and own[name]["kernel"].shape[0] == 3:
            h = h[:, 1::2, 1::2]  # of an even size, "SAME" pads after the last pixel alone
        elif stride == 2:
            h = h[:, ::2, ::2]
        norm, stats = own[f"{name}_norm"]["batch"], stats[f"{name}_norm"]["batch"]
        scale = norm["scale"] / np.sqrt(stats["var"] + 1e-5)
        return (h - stats["mean"]) * scale + norm["bias"]

    h = np.maximum(layer(x, params, kept, "stem"), 0)
    for i, j in np.ndindex(2, 2):
        own, stats = params[f"stage_{i}_block_{j}"], kept[f"stage_{i}_block_{j}"]
        stride = 2 if (i, j) == (1, 0) else 1
        short = layer(h, own, stats, "short", stride) if "short" in own else h
        inner = np.maximum(layer(h, own, stats, "first", stride), 0)
        h = np.maximum(short + layer(inner, own, stats, "second"), 0)
        assert ("short" in own) == (stride == 2)
    y = h.mean((1, 2)) @ params["head"]["kernel"] + params["head"]["bias"]
    np.testing.assert_allclose(model.apply(variables, {"image": x}), y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_a_block_starts_as_its_short_cut(norm):
    block = residual.Block(4, 1, norm)
    x = images((2, 8, 8, 4))
    y, _ = block.init_with_output(jax.random.key(0), x, False)
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_all_classes_are_as_likely_at_first():
    model, x, variables = built()
    np.testing.assert_array_equal(model.apply(variables, {"image": x}), np.zeros((2, 3)))


def test_groups_keep_no_state_and_the_axes_of_all_parameters_have_names():
    model = resnet.Model(resnet.Config(**VALUES | {"norm": "group"}))
    variables = model.init(jax.random.key(0), {"image": images((1, 8, 8, 1))})
    assert set(variables) == {"params"}
    boxes = jax.tree.leaves(variables, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned))
    assert all(isinstance(box, nn.LogicallyPartitioned) for box in boxes)


def test_a_stem_leaves_fewer_pixels():
    model, x, variables = built((1, 16, 16, 3), stem=2)
    _, seen = model.apply(variables, {"image": x}, capture_intermediates=True)
    seen = seen["intermediates"]
    assert seen["stem"]["__call__"][0].shape == (1, 16, 16, 4)
    assert seen["stage_0_block_0"]["__call__"][0].shape == (1, 4, 4, 4)


def test_half_precision_gives_logits_in_full():
    model, x, variables = built(dtype="bfloat16")
    logits = model.apply(moved(variables), {"image": x})
    whole = resnet.Model(resnet.Config(**VALUES)).apply(moved(variables), {"image": x})
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, whole, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(("field", "least"), [("stem", 0), ("blocks", 1)])
def test_what_no_network_can_be(field, least):
    with pytest.raises(ValueError, match=f"{field}: {least - 1}; must be at least {least}"):
        resnet.Config(**VALUES | {field: least - 1})


def test_a_stem_must_leave_a_pixel():
    resnet.Config(**VALUES | {"stem": 3}).fits({"shape": (8, 8, 1)})
    with pytest.raises(ValueError, match="stem: 4; each halves the image, which is 8x8x1"):
        resnet.Config(**VALUES | {"stem": 4}).fits({"shape": (8, 8, 1)})
