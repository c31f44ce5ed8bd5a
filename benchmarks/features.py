"""The classifier in whose features distances of generated images are measured.

    python -m benchmarks.features --workdir=/tmp/features

Trains a network of configs/cnn.py on Fashion-MNIST and writes data/features/fashion_mnist.npz: its
variables as arrays, its config as JSON. Prints the digest that configs/gan.py names. A minute of
CPU. Another machine's arithmetic gives another file: the one that is kept is the yardstick.
"""

import contextlib
import hashlib
import json
from pathlib import Path

import jax
import numpy as np
from absl import flags
from flax import traverse_util

import data
from configs import cnn
from train import before, run, step
from train import config as configuration
from train.checkpoint import Checkpoints
from train.cli import define_path, run_main

DIALS = "width=12,images=1.2e5"
PATH = Path(data.__file__).parent / "features" / "fashion_mnist.npz"


def main() -> int:
    """Trains and writes."""
    workdir = Path(flags.FLAGS.workdir)
    config = configuration.resolve(cnn.get_config(DIALS).to_dict())
    found = run.run(config, workdir).metrics
    dataset = before.open_data(config)
    functions = step.compile_for(config, dataset.eval_batch(0, 1))
    with contextlib.closing(Checkpoints(workdir, config, dataset.digest)) as checkpoints:
        state, _ = checkpoints.restore_newest(functions.abstract)
    variables = jax.device_get({"params": state.params, **state.extra})
    model = json.dumps(configuration.to_dict(config)["model"])
    PATH.parent.mkdir(exist_ok=True)
    np.savez_compressed(PATH, model=model, **traverse_util.flatten_dict(variables, sep="/"))
    print(f"accuracy {found['accuracy'][0]:.4f}, error {found['accuracy'][1]:.4f}")
    print(f"sha256 {hashlib.sha256(PATH.read_bytes()).hexdigest()}  {PATH.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    define_path("workdir", None, "Where the classifier is trained.")
    run_main(main)
