import hashlib
import json
import re

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import traverse_util

from data.sources import codes
from models import tokenizer

CONFIG = {"side": 8, "channels": 3, "patch": 2, "width": 6, "blocks": 2, "levels": [4, 3, 5]}


def weights(path, seed=0, **changes):
    """Writes weights of a small tokenizer with no zeros in them; gives their sha256, the model and
    its variables."""
    chosen = CONFIG | changes
    model = tokenizer.Model(tokenizer.Config(**chosen | {"levels": tuple(chosen["levels"])}))
    image = np.zeros((1, chosen["side"], chosen["side"], 3), np.float32)
    shapes = nn.meta.unbox(jax.eval_shape(model.init, jax.random.key(0), {"image": image}))
    random = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda x: random.normal(0, 0.4, x.shape).astype(np.float32), shapes["params"]
    )
    flat = traverse_util.flatten_dict(params, sep="/")
    np.savez(path, model=json.dumps({"name": "tokenizer", **chosen}), **flat)
    return hashlib.sha256(path.read_bytes()).hexdigest(), model, {"params": params}


def test_numpy_says_what_the_model_says(tmp_path):
    sha256, model, variables = weights(tmp_path / "own.npz")
    own = codes.read(str(tmp_path / "own.npz"), sha256)
    images = np.random.default_rng(1).integers(0, 256, (40, 8, 8, 3), np.uint8)
    again, wanted = model.apply(variables, {"image": images / np.float32(255)})
    found = own.encode(images)
    assert (own.codes, own.along, found.shape, found.dtype) == (60, 4, (40, 16), np.uint16)
    assert len(np.unique(found)) > 20
    np.testing.assert_array_equal(found, np.asarray(wanted).reshape(40, 16))
    drawn = np.clip(np.asarray(again), 0, 1) * 255
    np.testing.assert_allclose(own.draw(found), drawn, atol=0.51)


def test_codes_are_made_once_of_each_way_to_move(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLOMETRY_CACHE", str(tmp_path / "cache"))
    sha256, *_ = weights(tmp_path / "own.npz")
    own = codes.read(str(tmp_path / "own.npz"), sha256)
    images = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3), np.uint8)
    found = codes.of_images(own, sha256, images, 1)
    assert found.shape == (5, 9, 16)
    np.testing.assert_array_equal(found[:, 4], own.encode(images))
    up = np.concatenate([images[:, :1], images[:, :-1]], axis=1)  # moved down by one
    np.testing.assert_array_equal(found[:, 1], own.encode(up))
    monkeypatch.setattr(codes.Tokenizer, "encode", None)
    np.testing.assert_array_equal(codes.of_images(own, sha256, images, 1), found)


def test_what_is_no_tokenizer_is_said_in_one_line(tmp_path):
    sha256, *_ = weights(tmp_path / "own.npz")
    path = str(tmp_path / "own.npz")
    with pytest.raises(ValueError, match=f"data.sha256: 'ab'; the tokenizer {path} has {sha256}"):
        codes.read(path, "ab")
    with pytest.raises(ValueError, match=r"data.tokenizer: 'emojis'; allowed: .*npz"):
        codes.read("emojis", sha256)
    with pytest.raises(OSError, match=r"data.tokenizer: .*none.npz: No such file"):
        codes.read(str(tmp_path / "none.npz"), sha256)
    (tmp_path / "text.npz").write_text("hello")
    content = hashlib.sha256(b"hello").hexdigest()
    with pytest.raises(
        ValueError, match=r"data.tokenizer: .*text.npz has no tokenizer's weights"
    ) as e:
        codes.read(str(tmp_path / "text.npz"), content)
    assert not re.search("\n", str(e.value))
