"""Runs of which no step was taken, and others' folders of them."""

import flax.linen as nn
import jax
import numpy as np

from models import gpt
from train.config import RunConfig
from train.export import incoming

# Of each architecture, what of gpt is it.
KINDS = {
    "LlamaForCausalLM": {"activation": "swiglu", "qk_norm": False, "kv_heads": 1},
    "Qwen3ForCausalLM": {"activation": "swiglu", "qk_norm": True, "tied": False},
    "ArceeForCausalLM": {"activation": "gelu", "qk_norm": False, "norm_epsilon": 1e-3},
    "ApertusForCausalLM": {"activation": "gelu", "qk_norm": True, "rope_base": 500.0},
}


def first(config: RunConfig, seed: int = 0):
    """Parameters that no initialiser makes, so that no two are alike."""
    made = gpt.Model(config.model.config).init(
        jax.random.key(seed), {"tokens": np.zeros((1, 4), np.int32)}
    )["params"]
    leaves, tree = jax.tree.flatten(nn.meta.unbox(made))
    rng = np.random.default_rng(seed)
    return tree.unflatten([x + rng.normal(0, 0.1, x.shape).astype(np.float32) for x in leaves])


def begun(folder, config: RunConfig, seed: int = 0):
    """A run's folder; its parameters."""
    params = first(config, seed)
    incoming.save(folder, config, params)
    return params


def logits(config: gpt.Config, params, tokens: np.ndarray) -> np.ndarray:
    return np.asarray(gpt.Model(config).apply({"params": params}, {"tokens": tokens}))
