"""The gpt of models/gpt.py in PyTorch, with a cache: what benchmarks.generate is held against.

    PYTHON benchmarks/torch_gpt.py FOLDER

Needs torch and numpy alone. Reads weights.npz, prompts.npy and asked.json of a folder, writes
written.npy there, and prints its times as JSON. Eager mode, as most who decode with PyTorch do:
`torch.compile` is not tried.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F


class Gpt:
    """Blocks with QK-norm, rotary positions and GELU; the embedding is also the head."""

    def __init__(self, weights: dict[str, np.ndarray], heads: int, rope_base: float, room: int):
        """`weights` by their paths in models/gpt.py; `room` for so many tokens."""
        w = {name: torch.from_numpy(x) for name, x in weights.items()}
        self.embedding, self.heads = w["embedding"], heads
        self.in_norm, self.out_norm = w["in_norm/scale"], w["out_norm/scale"]
        own = {name.removeprefix("blocks/"): x for name, x in w.items() if "blocks/" in name}
        self.layers = [
            {name: x[i].contiguous() for name, x in own.items()} for i in range(len(own["mlp/in"]))
        ]
        D = self.embedding.shape[1]
        for layer in self.layers:  # as F.linear wants them
            parts = [
                layer.pop(f"attention/{name}").reshape(D, D) for name in ("query", "key", "value")
            ]
            layer["qkv"] = torch.cat(parts, dim=1).T.contiguous()
            layer["attention/out"] = layer["attention/out"].reshape(D, D).T.contiguous()
            layer["mlp/in"], layer["mlp/out"] = (
                layer[name].T.contiguous() for name in ("mlp/in", "mlp/out")
            )
        K = D // heads
        frequency = rope_base ** (-torch.arange(0, K, 2, dtype=torch.float32) / K)
        angle = torch.arange(room, dtype=torch.float32)[:, None] * frequency
        self.cos, self.sin, self.room = angle.cos(), angle.sin(), room

    def begin(self, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of no token, [N, B, H, M, K] each."""
        K = self.embedding.shape[1] // self.heads
        shape = (len(self.layers), rows, self.heads, self.room, K)
        return torch.zeros(shape), torch.zeros(shape)

    def step(
        self, cache: tuple[torch.Tensor, ...], tokens: torch.Tensor, place: int
    ) -> torch.Tensor:
        """Writes tokens [B, L] into the cache; the logits of the last, [B, V]."""
        (B, L), (keys, values) = tokens.shape, cache
        D, end = self.embedding.shape[1], place + tokens.shape[1]
        x = norm(self.embedding[tokens], self.in_norm)
        for i, w in enumerate(self.layers):
            y = F.linear(norm(x, w["attention_norm/scale"]), w["qkv"])
            q, k, v = y.view(B, L, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            q = self.rotate(norm(q, w["attention/query_norm/scale"]), place)
            keys[i, :, :, place:end] = self.rotate(norm(k, w["attention/key_norm/scale"]), place)
            values[i, :, :, place:end] = v
            seen = keys[i, :, :, :end], values[i, :, :, :end]
            a = F.scaled_dot_product_attention(q, *seen, is_causal=L > 1)
            x = x + F.linear(a.transpose(1, 2).reshape(B, L, D), w["attention/out"])
            h = F.gelu(F.linear(norm(x, w["mlp_norm/scale"]), w["mlp/in"]), approximate="tanh")
            x = x + F.linear(h, w["mlp/out"])
        return F.linear(norm(x[:, -1], self.out_norm), self.embedding)

    def rotate(self, x: torch.Tensor, place: int) -> torch.Tensor:
        """[B, H, L, K] by the places that begin with this one."""
        cos, sin = (t[place : place + x.shape[2]] for t in (self.cos, self.sin))
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def norm(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Root-mean-square normalisation over the last axis."""
    return F.rms_norm(x, scale.shape, scale, 1e-6)


def write(
    model: Gpt, prompts: torch.Tensor, tokens: int
) -> tuple[list[torch.Tensor], float, float]:
    """Greedy; the tokens, the seconds to the first of them and from there to the last."""
    begin, place = time.perf_counter(), prompts.shape[1]
    cache = model.begin(len(prompts))
    found = [model.step(cache, prompts, 0).argmax(-1, keepdim=True)]
    middle = time.perf_counter()
    for _ in range(tokens - 1):
        found.append(model.step(cache, found[-1], place).argmax(-1, keepdim=True))
        place += 1
    return found, middle - begin, time.perf_counter() - middle


def main(folder: Path) -> None:
    """Writes as often as asked, and once more before."""
    asked = json.loads((folder / "asked.json").read_text())
    torch.set_num_threads(asked["threads"])
    prompts = torch.from_numpy(np.load(folder / "prompts.npy")).long()
    with np.load(folder / "weights.npz") as weights:
        room = prompts.shape[1] + asked["tokens"]
        model = Gpt(dict(weights), asked["heads"], asked["rope_base"], room)
    times = []
    with torch.inference_mode():
        for _ in range(1 + asked["repeats"]):
            found, *seconds = write(model, prompts, asked["tokens"])
            times.append(seconds)
    np.save(folder / "written.npy", torch.cat([prompts, *found], dim=1).numpy())
    first, rest = (statistics.median(column) for column in zip(*times[1:]))
    print(json.dumps({"first": first, "rest": rest, "torch": torch.__version__}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
