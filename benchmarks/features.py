"""The classifiers in whose features distances of generated images are measured.

    python -m benchmarks.features --source=fashion_mnist --workdir=/tmp/features
    python -m benchmarks.features --source=emoji --workdir=/tmp/emoji

Trains a network of configs/cnn.py on the training side of a source and writes
data/features/SOURCE.npz: its variables as arrays, its config as JSON. Prints the digest that
configs name. A minute of CPU. Another machine's arithmetic gives another file: the ones that are
kept are the yardsticks.
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
DATA = {
    "fashion_mnist": {},
    "emoji": {"source": "emoji", "unique": 0, "flip": False, "crop": 2},
}
FOLDER = Path(data.__file__).parent / "features"


def main() -> int:
    """Trains and writes."""
    workdir, source = Path(flags.FLAGS.workdir), flags.FLAGS.source
    chosen = cnn.get_config(DIALS)
    chosen.data.update(DATA[source])
    config = configuration.resolve(chosen.to_dict())
    found = run.run(config, workdir).metrics
    dataset = before.open_data(config)
    functions = step.compile_for(config, dataset.eval_batch(0, 1))
    with contextlib.closing(Checkpoints(workdir, config, dataset.digest)) as checkpoints:
        state, _ = checkpoints.restore_newest(functions.abstract)
    variables = jax.device_get({"params": state.params, **state.extra})
    model = json.dumps(configuration.to_dict(config)["model"])
    path = FOLDER / f"{source}.npz"
    np.savez_compressed(path, model=model, **traverse_util.flatten_dict(variables, sep="/"))
    print(f"accuracy {found['accuracy'][0]:.4f}, error {found['accuracy'][1]:.4f}")
    print(f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}  {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    define_path("workdir", None, "Where the classifier is trained.")
    flags.DEFINE_enum("source", "fashion_mnist", list(DATA), "Of data images.")
    run_main(main)
