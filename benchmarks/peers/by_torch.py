"""The gpt of models/gpt.py in PyTorch, eager or, with a second argument "compile", compiled.

One block for one block: RMSNorm, rotary positions, QK-norm, GELU, the embedding as head; fused
AdamW. Needs torch alone.
"""

import os
import sys

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.peers import timing


class Norm(nn.Module):
    """Root-mean-square normalisation over the last axis."""

    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, self.scale.shape, self.scale, 1e-6)


class Block(nn.Module):
    """Attention and perceptron, each on a normalised copy of what it is added to."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = Norm(width), Norm(width)
        self.query_norm, self.key_norm = Norm(width // heads), Norm(width // heads)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x, cos, sin):
        def rotate(x):
            a, b = x.chunk(2, -1)
            return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

        B, L, D = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(B, L, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = rotate(self.query_norm(q)), rotate(self.key_norm(k))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, L, D))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x)), approximate="tanh"))


class Gpt(nn.Module):
    """Tokens and targets int [B, L] -> the mean loss."""

    def __init__(self, a: timing.Asked):
        super().__init__()
        D, K = a["width"], a["width"] // a["heads"]
        self.embedding = nn.Embedding(a["vocab"], D)
        nn.init.normal_(self.embedding.weight, std=0.25 * D**-0.5)
        self.blocks = nn.ModuleList(Block(D, a["heads"]) for _ in range(a["layers"]))
        self.in_norm, self.out_norm = Norm(D), Norm(D)
        frequency = 10_000.0 ** (-torch.arange(0, K, 2).float() / K)
        angle = torch.arange(a["length"]).float()[:, None] * frequency
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, tokens, targets):
        x = self.in_norm(self.embedding(tokens))
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = self.out_norm(x) @ self.embedding.weight.T
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def main() -> None:
    """Serves."""
    asked = timing.asked()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    model = Gpt(asked)
    of_adam = {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
    optimizer = torch.optim.AdamW(model.parameters(), **of_adam, fused=True)
    forward = torch.compile(model) if sys.argv[2:] == ["compile"] else model
    batch = torch.randint(0, asked["vocab"], (2, asked["batch"], asked["length"]))

    def calls():
        loss = forward(*batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    timing.serve(sum(p.numel() for p in model.parameters()), calls, torch.Tensor.item)


if __name__ == "__main__":
    main()
