"""A gpt as others hold it, and back."""

import dataclasses
import json

import numpy as np
import pytest

from models import gpt
from models.layers import quantized
from tests.train.export.cases import KINDS, first, logits
from train.cli import InputError
from train.export import huggingface, tensors

OTHERS = {"dropout": 0.0, "remat": "none", "dtype": "float32", "quantize": "none"}
TOKENS = np.random.default_rng(0).integers(0, 257, (2, 9), np.int32)


def fields(changes: dict) -> dict:
    return {f"model.{name}": value for name, value in changes.items()}


@pytest.fixture
def folder(tiny, tmp_path):
    """A folder of a Llama of two layers."""
    config = tiny(**fields(KINDS["LlamaForCausalLM"]))
    huggingface.write(tmp_path / "llama", config, first(config), 32, 256)
    return tmp_path / "llama"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_the_same_model_when_read(kind, tiny, tmp_path):
    config = tiny(**fields(KINDS[kind]))
    params = first(config)
    assert huggingface.write(tmp_path, config, params, 32, 256) == kind
    model, read, told = huggingface.read(tmp_path)
    assert (told["max_position_embeddings"], told["eos_token_id"]) == (32, 256)
    assert not model["embedding_norm"]
    again = logits(gpt.Config(**model, **OTHERS), read, TOKENS)
    np.testing.assert_allclose(again, logits(config.model.config, params, TOKENS), atol=2e-6)


def test_a_tied_head_stays_tied_where_the_embedding_has_no_norm(tiny, tmp_path):
    config = tiny(**fields(KINDS["LlamaForCausalLM"] | {"embedding_norm": False}))
    params = first(config)
    huggingface.write(tmp_path, config, params, 32, None)
    assert "lm_head.weight" not in tensors.read(tmp_path / huggingface.WEIGHTS)
    model, read, _ = huggingface.read(tmp_path)
    assert model["tied"]
    np.testing.assert_array_equal(read["embedding"], params["embedding"])


def test_parts_that_an_index_names_are_read_as_one(folder):
    whole = tensors.read(folder / huggingface.WEIGHTS)
    parts = {"a.safetensors": sorted(whole)[::2], "b.safetensors": sorted(whole)[1::2]}
    for name, own in parts.items():
        tensors.write(folder / name, {n: whole[n] for n in own})
    before = huggingface.read(folder)
    (folder / huggingface.WEIGHTS).unlink()
    index = {"weight_map": {n: name for name, own in parts.items() for n in own}}
    (folder / huggingface.INDEX).write_text(json.dumps(index))
    np.testing.assert_array_equal(huggingface.read(folder)[1]["head"], before[1]["head"])
    index["weight_map"]["x"] = "../b.safetensors"
    (folder / huggingface.INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"'../b.safetensors'; allowed: names of files beside it"):
        huggingface.read(folder)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("quantize", "int8", "config.model.quantize: 'int8'; allowed: none"),
        ("rope_base", 0.0, "config.model.rope_base: 0.0; allowed: above 0"),
    ],
)
def test_what_has_no_counterpart_is_named(field, value, says, tiny, monkeypatch):
    monkeypatch.setattr(quantized, "check", lambda name: None)  # whether its package is here
    config = tiny()
    inner = dataclasses.replace(config.model.config, **{field: value})
    changed = dataclasses.replace(config, model=dataclasses.replace(config.model, config=inner))
    with pytest.raises(InputError, match=says):
        huggingface.check(changed)


@pytest.mark.parametrize("name", ["bert", "moe", "lstm"])
def test_another_family_is_refused(name, tiny):
    config = tiny()
    changed = dataclasses.replace(config, model=dataclasses.replace(config.model, name=name))
    with pytest.raises(InputError, match=f"config.model.name: '{name}'; allowed: gpt"):
        huggingface.check(changed)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "mamba"}, "model_type: 'mamba'.* allowed: apertus, arcee, llama, qwen3"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "rope_scaling: .*; allowed: None"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type: 'yarn'; allowed: default"),
        ({"attention_bias": True}, "attention_bias: True; allowed: False"),
        ({"layer_types": ["sliding_attention"]}, "layer_types: allowed: full_attention"),
        ({"hidden_act": "relu"}, "hidden_act: 'relu'; allowed of llama: silu"),
        ({"head_dim": 5}, "head_dim: 5; allowed: 8"),
        ({"hidden_size": "16"}, "hidden_size: '16'; must be a whole number"),
        ({"hidden_size": None}, "hidden_size: None; must be"),
        ({"num_hidden_layers": 3}, r"model.layers.2.input_layernorm.weight: missing"),
        ({"vocab_size": 300}, r"embed_tokens.weight: is \[257, 16\]; must be \[300, 16\]"),
        ({"num_attention_heads": 3}, "as a gpt: .*heads"),
        ({"rms_norm_eps": "small"}, "norm_epsilon: 'small'; must be a number"),
    ],
)
def test_a_config_that_is_no_gpt_is_one_line(changes, says, folder):
    path = folder / huggingface.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError, match=says):
        huggingface.read(folder)


def test_weights_that_are_not_numbers_or_not_known_are_refused(folder):
    whole = dict(tensors.read(folder / huggingface.WEIGHTS))
    name = "model.norm.weight"
    for bad, says in (
        ({name: np.full(16, np.nan, np.float32)}, f"{name}: has numbers that are not finite"),
        ({"model.norm.bias": np.zeros(16, np.float32)}, "model.norm.bias: a gpt has no such"),
    ):
        tensors.write(folder / huggingface.WEIGHTS, whole | bad)
        with pytest.raises(InputError, match=says):
            huggingface.read(folder)
