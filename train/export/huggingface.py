"""A run of gpt as a folder that `transformers` loads, and such a folder as a gpt.

Blocks of gpt are those of four of its architectures, by activation and QK-norm: RMSNorm before each
branch, rotary positions in the half-split layout, grouped keys and values, no biases. What gpt adds
is a norm of what the embedding gives. It sees one token at a time, so the rows that it makes are
written in its place, and the head on its own.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models import gpt
from train import record, strict
from train.cli import InputError, nearest
from train.config import RunConfig
from train.export import tensors

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One of transformers, as far as it differs from the others."""

    name: str
    activation: str
    qk_norm: bool
    hidden_act: str
    norms: tuple[str, str] = ("input_layernorm", "post_attention_layernorm")


_GELU = "gelu_pytorch_tanh"  # jax.nn.gelu's default: the approximation by tanh
ARCHITECTURES = {
    "llama": Architecture("LlamaForCausalLM", "swiglu", False, "silu"),
    "qwen3": Architecture("Qwen3ForCausalLM", "swiglu", True, "silu"),
    "arcee": Architecture("ArceeForCausalLM", "gelu", False, _GELU),
    "apertus": Architecture(
        *("ApertusForCausalLM", "gelu", True, _GELU),
        norms=("attention_layernorm", "feedforward_layernorm"),
    ),
}
# What a config.json may not say, but for what stands here; a field that is absent is none.
PLAIN = {
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "attention_dropout": (0, 0.0),
    "use_sliding_window": (False,),
    "sliding_window": (None,),
    "rope_scaling": (None,),
    "rope_interleaved": (False,),
    "partial_rotary_factor": (None, 1, 1.0),
    "quantization_config": (None,),
}
_SIZES = {
    "vocab_size": "vocab_size",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "hidden": "intermediate_size",
}
_REASONS = {
    "bert": "BertForMaskedLM normalises after each branch by mean and variance, with biases; "
    "bert here before it, by the mean square, without",
    "moe": "its experts drop tokens beyond their capacity, which transformers' never do",
}


def write(
    out: Path, config: RunConfig, params: Mapping[str, Any], context: int, end: int | None
) -> str:
    """Writes config.json and model.safetensors. Gives the name of the architecture.

    Args:
      out: the folder.
      config: of the run.
      params: its parameters.
      context: tokens of the longest text that it was trained on.
      end: the token that stands between texts; None: there is none.

    Raises:
      InputError: naming the field that has no counterpart.
    """
    kind, c = _architecture(config), config.model.config
    table, own = _embedding(c, params), ARCHITECTURES[kind]
    arrays = {"model.embed_tokens.weight": table, "model.norm.weight": params["out_norm"]["scale"]}
    tied = c.tied and not c.embedding_norm
    if not tied:
        head = params["embedding"] if c.tied else np.asarray(params["head"]).T
        arrays["lm_head.weight"] = head
    blocks = params["blocks"]
    for layer in range(c.layers):
        prefix = f"model.layers.{layer}."
        for theirs, path in _names(own).items():
            array = _at(blocks, path)[layer]
            arrays[prefix + theirs] = array if array.ndim == 1 else _turned(path, array, c.width)
    values = {
        "architectures": [own.name],
        "model_type": kind,
        **{theirs: getattr(c, ours) for ours, theirs in _SIZES.items()},
        "head_dim": c.width // c.heads,
        "hidden_act": own.hidden_act,
        "max_position_embeddings": context,
        "rms_norm_eps": c.norm_epsilon,
        "rope_theta": c.rope_base,  # where versions before 5 look
        "rope_parameters": {"rope_type": "default", "rope_theta": c.rope_base},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "bos_token_id": end,
        "eos_token_id": end,
        "torch_dtype": "float32",
    }
    tensors.write(out / WEIGHTS, {name: np.asarray(x) for name, x in arrays.items()})
    record.save_json(out / CONFIG, values)
    return own.name


def check(config: RunConfig) -> None:
    """Raises InputError, naming the field, where a run has no counterpart."""
    _architecture(config)


def _architecture(config: RunConfig) -> str:
    name, c = config.model.name, config.model.config
    if name != "gpt":
        reason = f": {_REASONS[name]}" if name in _REASONS else ""
        raise InputError(f"config.model.name: {name!r}; allowed: gpt{reason}")
    if c.quantize != "none":
        raise InputError(
            f"config.model.quantize: {c.quantize!r}; allowed: none: elsewhere the products would "
            "be of 32 bits"
        )
    if not c.rope_base:
        raise InputError(f"config.model.rope_base: {c.rope_base}; allowed: above 0")
    of = (c.activation, c.qk_norm)
    return next(k for k, a in ARCHITECTURES.items() if (a.activation, a.qk_norm) == of)


def _embedding(c: gpt.Config, params: Mapping[str, Any]) -> np.ndarray:
    """What comes out of the embedding and its norm, for each token [V, D]."""
    table = np.asarray(params["embedding"], np.float32)
    if not c.embedding_norm:
        return table
    mean = np.mean(np.square(table), axis=-1, keepdims=True) + np.float32(c.norm_epsilon)
    return table / np.sqrt(mean) * np.asarray(params["in_norm"]["scale"])


def _names(own: Architecture) -> dict[str, str]:
    """Of a layer, their names and our paths."""
    found = {
        f"{own.norms[0]}.weight": "attention_norm/scale",
        f"{own.norms[1]}.weight": "mlp_norm/scale",
        "self_attn.q_proj.weight": "attention/query",
        "self_attn.k_proj.weight": "attention/key",
        "self_attn.v_proj.weight": "attention/value",
        "self_attn.o_proj.weight": "attention/out",
        "mlp.up_proj.weight": "mlp/in",
        "mlp.down_proj.weight": "mlp/out",
    }
    if own.activation == "swiglu":
        found["mlp.gate_proj.weight"] = "mlp/gate"
    if own.qk_norm:
        found["self_attn.q_norm.weight"] = "attention/query_norm/scale"
        found["self_attn.k_norm.weight"] = "attention/key_norm/scale"
    return found


def _at(tree: Any, path: str) -> Any:
    for part in path.split("/"):
        tree = tree[part]
    return tree


def _turned(path: str, array: Any, width: int) -> np.ndarray:
    """A matrix as torch holds it, [outputs, inputs]: heads and their widths are one axis."""
    array = np.asarray(array)
    inputs = array.size // width if path.endswith("out") else width
    return array.reshape(inputs, -1).T


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A folder of transformers with a causal language model of ARCHITECTURES.

    Returns:
      the fields of `models.gpt.Config` that it decides, the parameters (float32), and what else
      its config.json says.

    Raises:
      InputError: it is of another kind, or damaged; naming the file and the field.
    """
    path = folder / CONFIG
    values = record.load_json(path)
    where = f"{path}: "
    kind = values.get("model_type")
    if kind not in ARCHITECTURES:
        raise InputError(f"{where}model_type: {kind!r}; {nearest(str(kind), ARCHITECTURES)}")
    own = ARCHITECTURES[kind]
    strict.check(where, values, {theirs: int for theirs in _SIZES.values() if theirs in values})
    for name, allowed in PLAIN.items():
        if name in values and values[name] not in allowed:
            raise InputError(f"{where}{name}: {values[name]!r}; allowed: {allowed[0]!r}")
    if any(kind != "full_attention" for kind in values.get("layer_types") or ()):
        raise InputError(f"{where}layer_types: allowed: full_attention alone")
    if values.get("hidden_act") != own.hidden_act:
        given = values.get("hidden_act")
        raise InputError(f"{where}hidden_act: {given!r}; allowed of {kind}: {own.hidden_act}")
    model = _model(where, values, own)
    return model, _params(folder, model, own), values


def _model(where: str, values: Mapping[str, Any], own: Architecture) -> dict[str, Any]:
    given = {"num_key_value_heads": values.get("num_attention_heads"), **values}
    missing = [theirs for theirs in _SIZES.values() if given.get(theirs) is None]
    if missing:
        raise InputError(f"{where}{missing[0]}: missing")
    sizes = {ours: given[theirs] for ours, theirs in _SIZES.items()}
    width = sizes["width"] // max(1, sizes["heads"])
    if sizes["width"] == width * sizes["heads"] and given.get("head_dim") not in (None, width):
        raise InputError(f"{where}head_dim: {given['head_dim']}; allowed: {width}, of its widths")
    rope = given.get("rope_parameters") or {}
    strict.check(f"{where}rope_parameters", rope, dict)
    if rope.get("rope_type", "default") != "default":
        raise InputError(f"{where}rope_type: {rope['rope_type']!r}; allowed: default")
    found = {
        "rope_base": rope.get("rope_theta", given.get("rope_theta", 10_000.0)),
        "norm_epsilon": given.get("rms_norm_eps", 1e-6),
    }
    strict.check(where, found, dict.fromkeys(found, float))
    tied = given.get("tie_word_embeddings", False)
    strict.check(f"{where}tie_word_embeddings", tied, bool)
    model = {
        **sizes,
        **{name: float(x) for name, x in found.items()},
        "activation": own.activation,
        "qk_norm": own.qk_norm,
        "embedding_norm": False,
        "tied": tied,
    }
    others = {"dropout": 0.0, "remat": "none", "dtype": "float32", "quantize": "none"}
    try:
        gpt.Config(**model, **others)
    except ValueError as error:
        raise InputError(f"{where}as a gpt: {error}") from None
    return model


def _params(folder: Path, model: Mapping[str, Any], own: Architecture) -> dict[str, Any]:
    arrays, D, K = _arrays(folder), model["width"], model["width"] // model["heads"]
    V, F, H, G = (model[name] for name in ("vocab_size", "hidden", "heads", "kv_heads"))
    axes = {"D": D, "F": F, "H": H, "G": G, "K": K}
    taken: set[str] = set()

    def take(name: str, *shape: int) -> np.ndarray:
        found = arrays.get(name)
        if found is None or found.shape != shape:
            there = "missing" if found is None else f"is {list(found.shape)}"
            raise InputError(f"{folder}: {name}: {there}; must be {list(shape)}")
        taken.add(name)
        array = np.asarray(found, np.float32)
        if not np.isfinite(array).all():
            raise InputError(f"{folder}: {name}: has numbers that are not finite")
        return array

    def layer(theirs: str, path: str, n: int) -> np.ndarray:
        shape = [axes[letter] for letter in _AXES.get(path, "D")]
        name = f"model.layers.{n}.{theirs}"
        if len(shape) == 1:
            return take(name, *shape)
        inputs = math.prod(shape[:-1]) if path.endswith("out") else D
        return take(name, math.prod(shape) // inputs, inputs).T.reshape(shape)

    blocks: dict[str, Any] = {}
    for theirs, path in _names(own).items():
        *parts, last = path.split("/")
        at = blocks
        for part in parts:
            at = at.setdefault(part, {})
        at[last] = np.stack([layer(theirs, path, n) for n in range(model["layers"])])
    params = {
        "embedding": take("model.embed_tokens.weight", V, D),
        "out_norm": {"scale": take("model.norm.weight", D)},
        "blocks": blocks,
    }
    if not model["tied"]:
        params["head"] = take("lm_head.weight", V, D).T
    # Some files hold what is made from other fields, or the tied head again.
    known = taken | {"lm_head.weight"}
    extra = [name for name in arrays if name not in known and "rotary_emb" not in name]
    if extra:
        raise InputError(f"{folder}: {min(extra)}: a gpt has no such weight")
    return params


# Axes of ours, as a path's array has them behind that of layers; D where none is said.
_AXES = {
    "attention/query": "DHK",
    "attention/key": "DGK",
    "attention/value": "DGK",
    "attention/out": "HKD",
    "mlp/in": "DF",
    "mlp/gate": "DF",
    "mlp/out": "FD",
    "attention/query_norm/scale": "K",
    "attention/key_norm/scale": "K",
}


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of a folder's safetensors, of one file or of those that an index names."""
    if (folder / WEIGHTS).exists() or not (folder / INDEX).exists():
        return tensors.read(folder / WEIGHTS)
    index = record.load_json(folder / INDEX)
    strict.check(f"{folder / INDEX}: ", index, {"weight_map": {str: str}, str: object})
    found: dict[str, np.ndarray] = {}
    for name in sorted(set(index["weight_map"].values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise InputError(f"{folder / INDEX}: {name!r}; allowed: names of files beside it")
        found |= tensors.read(folder / name)
    return found
