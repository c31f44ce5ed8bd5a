"""Run by a Python with transformers: logits of the folders named, their tokenizers tried; and two
models of its own, with theirs."""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

SIZES = {
    **{"vocab_size": 257, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.5},
}
MADE = {
    "made-llama": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, rms_norm_eps=1e-5, tie_word_embeddings=True)
    ),
    "made-qwen3": lambda: Qwen3ForCausalLM(
        Qwen3Config(**SIZES, head_dim=4, rope_theta=1e6, tie_word_embeddings=False)
    ),
}

if __name__ == "__main__":
    folder, *kinds = sys.argv[1:]
    tokens = torch.from_numpy(np.load(Path(folder) / "tokens.npy")).long()
    for kind in kinds:
        path = str(Path(folder) / kind)
        model, tokenizer = (
            library.from_pretrained(path, local_files_only=True)
            for library in (AutoModelForCausalLM, AutoTokenizer)
        )
        assert tokenizer("é!")["input_ids"] == list("é!".encode())
        assert tokenizer.decode(list("é!".encode())) == "é!"
        with torch.no_grad():
            np.save(f"{path}.npy", model.eval()(tokens).logits.numpy())
        print(type(model).__name__)
    for name, make in MADE.items():
        torch.manual_seed(0)
        model = make().eval()
        model.save_pretrained(f"{folder}/{name}")
        with torch.no_grad():
            np.save(f"{folder}/{name}.npy", model(tokens).logits.numpy())
