"""This project's step, as a run of the gpt ladder takes it: several in one call where that does."""

import dataclasses

from benchmarks.peers import timing
from train import allocator


def main() -> None:
    """Serves."""
    allocator.keep_memory()
    import jax
    import numpy as np

    from train import before, step
    from train.drive import at_once

    asked = timing.asked()
    config = config_of(asked)
    dataset = before.open_data(config)
    functions, hyper = step.compile_for(config, dataset.eval_batch(0, 1)), step.hyper_of(config)
    account = before.account(config, dataset)
    batch = dataset.train_batch(0, 0, asked["batch"])
    K = at_once(config, account.C["forward"] / config.steps) if functions.many else 1
    many = jax.device_put({name: np.stack([x] * K) for name, x in batch.items()})
    state = functions.init(hyper)

    def calls():
        nonlocal state
        if K == 1:
            state, metrics = functions.train(state, batch, hyper)
        else:
            state, metrics = functions.many(state, many, np.int32(K), hyper)
        return metrics

    timing.serve(account.N["total"], calls, jax.block_until_ready, K)


def config_of(asked: timing.Asked):
    """The run of these shapes."""
    from scaling.plan.ladder import Ladder
    from train import config as configuration

    config = configuration.resolve(Ladder("configs/gpt.py").at(asked["width"], 1e6).config)
    text = dataclasses.replace(config.data.config, sequence_length=asked["length"])
    return dataclasses.replace(
        config,
        batch_size=asked["batch"],
        log_every=config.steps,
        data=dataclasses.replace(config.data, config=text),
    )


if __name__ == "__main__":
    main()
