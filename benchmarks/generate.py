"""How fast a gpt writes: time to first token and tokens a second, alone and in a batch.

    python -m benchmarks.generate [--widths=64,256] [--batches=1,16] [--torch=PYTHON]

Models of the gpt ladder with random weights, greedy, programs compiled before. A prompt of 64
tokens, then 128 more. With --torch the same weights write by PyTorch too (benchmarks.torch_gpt), in
a Python that has it, on the same cores, with one thread and with one a core, in alternation: three
rounds, of which times are medians. The last column is how many tokens both agree on:

    python3 -m venv /tmp/torch && /tmp/torch/bin/pip install torch numpy
    python -m benchmarks.generate --torch=/tmp/torch/bin/python
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from absl import flags
from flax import traverse_util
from rich.console import Console

from models import gpt
from scaling.console.printed import show, table
from scaling.plan.ladder import Ladder
from train import config as configuration
from train.cli import InputError, run_main
from train.generate.rules import Sampling
from train.generate.writing import Asked, Writer

PROMPT, TOKENS, REPEATS, ROUNDS = 64, 128, 5, 3
SCRIPT = Path(__file__).with_name("torch_gpt.py")


def timed(first: Callable[[], Any], rest: Callable[[Any], Any]) -> dict[str, float]:
    """Medians of the seconds to the first token, and from there to the last."""
    times: list[tuple[float, float]] = []
    for _ in range(1 + REPEATS):
        begin = time.perf_counter()
        text = jax.block_until_ready(first())
        middle = time.perf_counter()
        jax.block_until_ready(rest(text))
        times.append((middle - begin, time.perf_counter() - middle))
    to_first, to_last = (statistics.median(column) for column in zip(*times[1:]))
    return {"first": to_first, "rest": to_last}


def ours(model: gpt.Model, variables: Any, prompts: np.ndarray) -> tuple[dict[str, float], Any]:
    """Times, and the tokens int32 [B, PROMPT + TOKENS]."""
    given = np.full(len(prompts), PROMPT, np.int32)
    asked = Asked(given, np.int32(TOKENS), jax.random.key(0))
    batch = {"tokens": np.pad(prompts, ((0, 0), (0, TOKENS)))}
    writer = Writer(model, Sampling(), -1)

    def write(text: Any, until: int) -> Any:
        return writer.write(variables, batch, asked, text, until)

    def first() -> Any:
        return write(writer.begin(variables, batch, asked), PROMPT)

    def rest(text: Any) -> Any:
        return write(text, PROMPT + TOKENS - 1)

    return timed(first, rest), np.asarray(rest(first()).tokens_RxT[:, : PROMPT + TOKENS])


def theirs(
    python: str, model: gpt.Model, variables: Any, prompts: np.ndarray, threads: int
) -> tuple[dict[str, float], Any]:
    """The same by PyTorch."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = traverse_util.flatten_dict(jax.device_get(variables["params"]), sep="/")
        np.savez(folder / "weights.npz", **weights)
        np.save(folder / "prompts.npy", prompts)
        c = model.config
        known = {"heads": c.heads, "rope_base": c.rope_base, "tokens": TOKENS, "repeats": REPEATS}
        known |= {"threads": threads}
        (folder / "asked.json").write_text(json.dumps(known))
        done = subprocess.run([python, str(SCRIPT), name], capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:]
            raise InputError(f"--torch: {python!r}: {''.join(said)}")
        return json.loads(done.stdout), np.load(folder / "written.npy")


def model_of(width: int) -> tuple[gpt.Model, Any]:
    """A model of the ladder, and random variables larger than at the start, so that no two tokens
    are as probable."""
    config = configuration.resolve(Ladder("configs/gpt.py").at(width, 1e6).config).model.config
    model = gpt.Model(config)
    made = jax.jit(model.init)(jax.random.key(0), {"tokens": np.zeros((1, 8), np.int32)})
    return model, {"params": jax.tree.map(lambda w: 2 * w, nn.meta.unbox(made)["params"])}


def alternated(
    model: gpt.Model, variables: Any, prompts: np.ndarray
) -> dict[str, tuple[list[dict[str, float]], str]]:
    """By who writes, the times of each round, and how many tokens are ours."""
    python, cores = flags.FLAGS.torch, len(os.sched_getaffinity(0))
    found: dict[str, tuple[list[dict[str, float]], str]] = {}
    for _ in range(ROUNDS if python else 1):
        times, written = ours(model, variables, prompts)
        found.setdefault("jax", ([], ""))[0].append(times)
        for threads in sorted({1, cores}) if python else ():
            times, again = theirs(python, model, variables, prompts, threads)
            same = f"{np.mean(written == again):.1%}"
            found.setdefault(f"torch, {threads} threads", ([], same))[0].append(times)
    return found


def main() -> int:
    """Prints the table."""
    columns = ("width", "N", "batch", "by", "first token ms", "tokens/s", "the same tokens")
    made = table("", *columns)
    for width in map(int, flags.FLAGS.widths):
        model, variables = model_of(width)
        N = sum(w.size for w in jax.tree.leaves(variables))
        for rows in map(int, flags.FLAGS.batches):
            rng = np.random.default_rng(0)
            prompts = rng.integers(0, model.config.vocab_size, (rows, PROMPT)).astype(np.int32)
            for by, (times, same) in alternated(model, variables, prompts).items():
                first, rest = (
                    statistics.median(one[part] for one in times) for part in ("first", "rest")
                )
                cells = (f"{1e3 * first:.2f}", f"{rows * (TOKENS - 1) / rest:,.0f}", same)
                made.add_row(str(width), f"{N:,}", str(rows), by, *cells)
    print(f"{jax.devices()[0].device_kind}, {len(os.sched_getaffinity(0))} cores")
    show(Console(width=100), made)
    return 0


if __name__ == "__main__":
    flags.DEFINE_list("widths", ["64", "256"], "Widths of the gpt ladder.")
    flags.DEFINE_list("batches", ["1", "16"], "Texts written at once.")
    flags.DEFINE_string("torch", None, "A Python that has torch and numpy.")
    run_main(main)
