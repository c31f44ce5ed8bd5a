"""The tokenizer by whose codes images are drawn, as a file of its weights.

    python -m benchmarks.codebook --workdir=/tmp/codebook
    python -m benchmarks.codebook --workdir=runs/tokenizer --to=mine.npz

Writes the weights of a run of configs/tokenizer.py, which it trains first where the folder holds
none, and prints the digest that a config of data `captioned` names. The one in data/features is
kept: another machine's arithmetic gives another file, and losses under two are not comparable.
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
from configs import tokenizer
from train import config as configuration
from train import run, saved, workdir
from train.cli import InputError, define_path, run_main

DIALS = "width=40,images=2e5"
PATH = Path(data.__file__).parent / "features" / "emoji_codes.npz"


def main() -> int:
    """Trains where there is no run, and writes."""
    given = flags.FLAGS
    if not given.workdir:
        raise InputError("--workdir: missing; give a folder")
    folder, path = Path(given.workdir), Path(given.to or PATH)
    if not workdir.read(folder):
        run.run(configuration.resolve(tokenizer.get_config(DIALS).to_dict()), folder)
    found = saved.open_run(folder, 0)
    if found.config.model.name != "tokenizer":
        raise InputError(f"--workdir: its run is of {found.config.model.name}; give a tokenizer's")
    params = traverse_util.flatten_dict(jax.device_get(found.state().params), sep="/")
    model = json.dumps(configuration.to_dict(found.config)["model"])
    np.savez_compressed(path, model=model, **params)
    with contextlib.suppress(OSError):
        print(json.dumps(json.loads((folder / "record.json").read_text())["metrics"]))
    content = path.read_bytes()
    print(f"sha256 {hashlib.sha256(content).hexdigest()}  {path}  {len(content)} bytes")
    return 0


if __name__ == "__main__":
    define_path("workdir", None, "A tokenizer's run, or where one is trained.")
    define_path("to", None, "Where the weights go; data/features/emoji_codes.npz if not given.")
    run_main(main)
