"""Speed of the training step against this machine's matrix products.

    python -m benchmarks.step [--widths=64,128,256,512] [--batch_size=16] [--cores=0]

For each width of the gpt ladder: tokens and FLOPs (the "forward" convention) a second of the whole
step, beside the best of a few square products in float32 (CPU) or bfloat16. The ratio is what
counts; absolutes depend on the machine. The last column is the making of a batch by the host.

    python -m benchmarks.step --peers=nanodo,flax,torch,torch.compile --nanodo=FOLDER --torch=PYTHON

With peers, the same shapes are trained by them too, in alternation (benchmarks.peers): a decoder
with float32, AdamW and a clipped gradient, on one batch that stays; ours takes several steps in one
call where a run does. `+malloc` behind a name: with this project's settings of the allocator.

    git clone https://github.com/google-deepmind/nanodo
    python3 -m venv torch && torch/bin/pip install torch numpy     # and a C++ compiler
"""

import dataclasses
import functools
import os
import statistics
import time

from absl import flags

from train.cli import InputError, run_main

_SECONDS = 3.0  # a measurement takes at least this long


def median_seconds(call, wait) -> float:
    """Median seconds of one `call`, over batches of calls that end in `wait`."""
    wait(call())
    times, end = [], time.monotonic() + _SECONDS
    while len(times) < 5 or time.monotonic() < end:
        begin = time.monotonic()
        for _ in range(4):
            out = call()
        wait(out)
        times.append((time.monotonic() - begin) / 4)
    return statistics.median(times)


def peak() -> float:
    """FLOPs a second of the fastest square matrix product."""
    import jax
    import jax.numpy as jnp

    on_cpu = jax.default_backend() == "cpu"
    best = 0.0
    for size in (1024, 2048) if on_cpu else (4096, 8192, 16384):
        x = jnp.ones((size, size), jnp.float32 if on_cpu else jnp.bfloat16)
        multiply = functools.partial(jax.jit(jnp.matmul), x, x)
        best = max(best, 2 * size**3 / median_seconds(multiply, jax.block_until_ready))
    return best


def measure(width: int, batch_size: int) -> dict[str, float]:
    """Seconds of a step and of its parts at one width."""
    import jax

    from scaling.plan.ladder import Ladder
    from train import before, step
    from train import config as configuration

    config = configuration.resolve(Ladder("configs/gpt.py").at(width, 1e6).config)
    dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    model = dataclasses.replace(config.model.config, dtype=dtype)
    config = dataclasses.replace(
        config, batch_size=batch_size, model=dataclasses.replace(config.model, config=model)
    )
    dataset = before.open_data(config)
    functions, hyper = step.compile_for(config, dataset.eval_batch(0, 1)), step.hyper_of(config)
    state, batch = functions.init(hyper), dataset.train_batch(0, 0, batch_size)
    account = before.account(config, dataset)

    def one_step():
        nonlocal state
        state, metrics = functions.train(state, batch, hyper)
        return metrics

    seconds = median_seconds(one_step, jax.block_until_ready)
    making = median_seconds(lambda: dataset.train_batch(0, 7, batch_size), lambda _: None)
    return {
        "N": account.N["total"],
        "tokens": account.D / config.steps,
        "flops": account.C["forward"] / config.steps,
        "seconds": seconds,
        "batch": making,
    }


def against(peers: list[str]) -> None:
    """Prints the table of a race."""
    from rich.console import Console
    from rich.table import Table

    from benchmarks.peers import race
    from benchmarks.peers.by_allometry import config_of

    given = flags.FLAGS
    unknown = [name for name in peers if name.removesuffix(race.TOLD) not in race.PEERS]
    if unknown:
        raise InputError(f"--peers: {unknown[0]!r}; one of {', '.join(race.PEERS)}")
    made = Table("width", "N", "by", "step ms", "CPU ms", "page faults", "times ours (range)")
    for width in map(int, given.widths):
        asked = {"width": width, "batch": given.batch_size, "length": given.length}
        model = config_of(asked).model.config
        asked |= {"vocab": model.vocab_size, "layers": model.layers, "heads": model.heads}
        pythons = {"own": "", "torch": given.torch}
        found = race.race([race.OURS, *peers], asked, pythons, given.nanodo, given.rounds)
        for name, timed in found.items():
            times = timed.times(found[race.OURS])
            made.add_row(
                *(str(width), f"{timed.N:,}", name),
                *(f"{1e3 * statistics.median(x):.2f}" for x in (timed.wall, timed.cpu)),
                f"{statistics.median(timed.faults):,.0f}",
                f"{statistics.median(times):.2f} ({times[0]:.2f} to {times[-1]:.2f})",
            )
    Console(width=110).print(made)


def main() -> None:
    """Prints the table."""
    if flags.FLAGS.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: flags.FLAGS.cores])
    if flags.FLAGS.peers:
        return against(flags.FLAGS.peers)
    import jax
    from rich.console import Console
    from rich.table import Table

    from train import allocator, cache

    cache.use_cache()
    allocator.keep_memory()
    best = peak()
    table = Table("width", "N", "step ms", "tokens/s", "GFLOP/s", "of peak", "batch ms")
    for width in map(int, flags.FLAGS.widths):
        m = measure(width, flags.FLAGS.batch_size)
        rate = m["flops"] / m["seconds"]
        table.add_row(
            str(width),
            f"{m['N']:,}",
            f"{1e3 * m['seconds']:.2f}",
            f"{m['tokens'] / m['seconds']:,.0f}",
            f"{rate / 1e9:.1f}",
            f"{rate / best:.0%}",
            f"{1e3 * m['batch']:.3f}",
        )
    where = f"{jax.devices()[0].device_kind}, {len(os.sched_getaffinity(0))} cores"
    Console().print(f"{where}: fastest matrix product {best / 1e9:.0f} GFLOP/s", highlight=False)
    Console().print(table)


if __name__ == "__main__":
    flags.DEFINE_list("widths", ["64", "128", "256", "512"], "Widths of the gpt ladder.")
    flags.DEFINE_integer("batch_size", 16, "Sequences a step.", 1)
    flags.DEFINE_integer("cores", 0, "Keep to this many cores; 0 = all.", 0)
    flags.DEFINE_list("peers", [], "Who else is to take these steps.")
    flags.DEFINE_integer("length", 64, "With peers: tokens of a sequence.", 1)
    flags.DEFINE_integer("rounds", 5, "With peers: how often each of them is measured.", 1)
    flags.DEFINE_string("torch", "", "With peers: a Python that has torch.")
    flags.DEFINE_string("nanodo", "", "With peers: a folder with NanoDO's repository.")
    run_main(main)
