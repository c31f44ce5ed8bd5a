"""Speed of the training step against this machine's matrix products.

    python -m benchmarks.step [--widths=64,128,256,512] [--batch_size=16] [--cores=0]

For each width of the gpt ladder: tokens and FLOPs (the "forward" convention) a second of the whole
step, beside the best of a few square products in float32 (CPU) or bfloat16. The ratio is what
counts; absolutes depend on the machine. The last column is the making of a batch by the host.
"""

import dataclasses
import functools
import os
import statistics
import time

from absl import flags

from train.cli import run_main

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


def main() -> None:
    """Prints the table."""
    if flags.FLAGS.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: flags.FLAGS.cores])
    import jax
    from rich.console import Console
    from rich.table import Table

    from train import cache

    cache.use_cache()
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
    run_main(main)
