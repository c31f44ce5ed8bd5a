"""gpt at the sizes that are trained to be used, 124 M to 8 B parameters, on text of your own.

    python -m train --config=configs/gpt_large.py:size=1.3e9,tokens=2.6e10 --workdir=/shared/r1 \\
        --config.data.source=folder:/my/texts

Dials: `width`, or `size` (parameters in all; the nearest width is taken), and `tokens`, by default
20 a parameter (Hoffmann et al. 2022). configs/gpt.py is the same model for an hour on a laptop,
where other contexts and batches were measured to be best. Nothing here was tuned on runs of this
project's own: each number has its source beside it, and what has none is called a guess.
"""

import math

from ml_collections import ConfigDict

from configs import base

CONTEXT = 2048  # of GPT-3, Pythia, OLMo; and of the runs behind the rules for batch and rate
VOCABULARY = 32_768  # about that of Llama 2; a power of two splits over any mesh
TOKENS_A_PARAMETER = 20
# A quarter of the heads as keys and values needs heads in fours: 64 wide, and 128 from 2048 on.
WIDTHS = (*range(256, 2048, 256), *range(2048, 8193, 512))


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width or size, and tokens."""
    given = base.dials(dials, width=int, size=float, tokens=float)
    if {"width", "size"} <= given.keys():
        raise base.BadDial("--config: width and size; give one of the two")
    size = given.get("size", 124e6)
    nearest = min(WIDTHS, key=lambda width: abs(math.log(parameters(width) / size)))
    width = given.get("width", nearest)
    tokens = given.get("tokens", TOKENS_A_PARAMETER * parameters(width))
    config = recipe(width, tokens)
    config.steps = base.steps(config, tokens)
    return config


def recipe(width: int, tokens: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of training tokens."""
    if width < 128 or width % 128:
        raise base.BadDial(f"width: {width}; must be a multiple of 128")
    config = base.get_config()
    config.data = {
        "name": "text",
        "source": "folder:texts",
        "tokenizer": f"bpe:{VOCABULARY}",
        "sequence_length": CONTEXT,
        "eval_tokens": 4096 * CONTEXT,
        "cleaning": base.CLEANING,
    }
    # 64 in GPT-2 and in Llama 3.2 1B, 128 in larger Llamas.
    heads = width // (64 if width < 2048 else 128)
    config.model = {
        "name": "gpt",
        "vocab_size": VOCABULARY,
        "layers": layers(width),
        "width": width,
        "heads": heads,
        # A quarter, as in Llama 3 8B (GQA: Ainslie et al. 2023); the largest divisor below that
        # where heads are not in fours.
        "kv_heads": max(k for k in range(1, max(1, heads // 4) + 1) if heads % k == 0),
        "hidden": hidden(width),
        "activation": "swiglu",
        "qk_norm": True,
        "norm_epsilon": 1e-6,
        "embedding_norm": True,
        "rope_base": 10_000.0,
        "tied": True,  # as in configs/gpt.py; usual below some billions of parameters
        "dropout": 0.0,
        "remat": "full",
        "dtype": "bfloat16",
        "quantize": "none",
    }
    config.task = {"name": "next_token", "z_loss": 0.0}
    _train(config, width, tokens)
    return config


def _train(config: ConfigDict, width: int, D: float) -> None:
    """Batch, rate and decay. Both laws were fitted below 4 B parameters: beyond, extrapolated."""
    N = parameters(width)
    body = N - VOCABULARY * width
    # Batch and rate, tuned together: Li et al. 2025 (Step Law, arXiv:2503.04715), eq. 1; N without
    # the embedding, the batch in tokens. The loss is flat around it: the nearest power of two, for
    # meshes, costs nothing that was seen. At least 8: a guess.
    batch = 0.58 * D**0.571 / CONTEXT
    config.batch_size = max(8, 2 ** round(math.log2(batch)))
    rate = 1.79 * body**-0.713 * D**0.307
    config.optimizer.learning_rate = float(f"{rate:.3g}")
    # Their schedule: 2000 steps of warm-up, a cosine down to 1e-5. A tenth where a run is short: a
    # guess.
    config.schedule.warmup = min(0.1, 2000 / base.steps(config, D))
    config.schedule.final = float(f"{min(1.0, 1e-5 / rate):.3g}")
    # Decay: AdamW averages over B / (rate decay) tokens, which should be this share of D (Bergsma
    # et al. 2025, arXiv:2505.13738). Near the usual 0.1 at 20 tokens a parameter.
    share = 1.084 * (D / N) ** -0.527
    decay = config.batch_size * CONTEXT / (rate * D * share)
    config.optimizer.weight_decay = float(f"{decay:.2g}")
    config.evaluation.batch_size = 32
    config.checkpoint.every = 1000
    # Any number of devices that divides the batch; parameters split over all of them.
    config.mesh.update(data=1, fsdp=-1)


def layers(width: int) -> int:
    """The power law through GPT-2 small (768 wide, 12 layers) and Llama 3 8B (4096, 32).

    A guess between two designs; over a range of shapes the loss hardly depends on it (Kaplan et al.
    2020, section 3.2).
    """
    return max(2, round(12 * (width / 768) ** 0.586))


def hidden(width: int) -> int:
    """3.5 widths, as in Llama 3 8B; a multiple of 256."""
    return 256 * math.ceil(3.5 * width / 256)


def parameters(width: int) -> int:
    """Parameters in all, gains of norms and heads that are not in fours aside."""
    block = 2.5 * width**2 + 3 * width * hidden(width)
    return round(layers(width) * block + VOCABULARY * width)
