"""Run by a Python with transformers: logits of the folders named, and their tokenizers tried."""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

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
