"""How like real ones the pictures are that runs of text2image draw for captions they never saw.

    python -m benchmarks.frechet --runs=studies/text2image/runs/heldout [--temperature=1] [--seed=0]

A picture is drawn for the caption of every drawing that a run was evaluated on, and held against
these drawings in what a frozen classifier of their source sees (data/features, by
benchmarks.features): Frechet distance, precision, recall and variety as task `adversarial` has
them; and other: the share of pictures that the classifier takes for another class than the real
one of the same caption. Beside the runs: as many training drawings (what the distance is where
pictures are real), the drawings as the tokenizer has them (the best that a run can do), and codes
drawn each by how often it occurs. Errors are of a jackknife over rows, which count as independent.
A distance is biased upwards by 1 / rows, and its classifier decides its scale: hold it against
others of as many rows and of the same classifier alone.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import flags

import data
from data import Dataset
from train import cache, evaluation, saved, step, tasks
from train.cli import InputError, run_main
from train.generate import rules, writing
from train.tasks import adversarial

# Sources of data `captioned`: that of data `images` with the same pictures, and its classifier.
SOURCES = {"emoji": "emoji", "images:fashion_mnist": "fashion_mnist"}
PART = 500  # pictures at a time
Seen = tuple[np.ndarray, np.ndarray]  # features [n, F] and classes [n]


def main() -> int:
    """Prints a line for each set of pictures."""
    given = flags.FLAGS
    if not given.runs:
        raise InputError("--runs: missing; folders of runs of text2image")
    cache.use_cache()
    known: dict[str, tuple[Callable, Seen]] = {}
    for name in given.runs:
        run = saved.open_run(saved.folder(name), 0)
        config = run.config.data.config
        if run.config.data.name != "captioned" or config.source not in SOURCES:
            raise InputError(f"--runs: {name}; allowed: text2image on {', '.join(SOURCES)}")
        if run.dataset.digest not in known:
            known[run.dataset.digest] = beside(run.dataset, config)
        see, real = known[run.dataset.digest]
        drawn = see(run.dataset.facts["draw"](codes(run, given.temperature, given.seed)))
        show(f"{name}, temperature {given.temperature:g}, seed {given.seed}", drawn, real)
    return 0


def beside(dataset: Dataset, config: Any) -> tuple[Callable[[np.ndarray], Seen], Seen]:
    """What sees pictures of a source, and what it sees in those of a run's evaluation set; prints
    what the run's distances are to be held against."""
    fields = ("source", "evaluation", "eval_rows", "unique", "side")
    chosen = {field: getattr(config, field) for field in fields}
    pictures = data.open_dataset("drawings", chosen | {"crop": 0})
    see, n = seeing(SOURCES[config.source]), pictures.eval_rows
    real = see(_bytes(pictures.eval_batch(0, n)["image"]))
    show("training drawings", see(_bytes(pictures.train_batch(0, 0, n)["image"])), real)
    draw, targets = dataset.facts["draw"], dataset.eval_batch(0, n)["targets"]
    show("the drawings from their codes", see(draw(targets)), real)
    seen = dataset.train_batch(0, 0, dataset.train_rows)["targets"]
    alone = np.random.default_rng(0).choice(seen.ravel(), targets.shape)
    show("codes by how often they occur", see(draw(alone)), real)
    return see, real


def seeing(source: str) -> Callable[[np.ndarray], Seen]:
    """What the classifier of a source sees in pictures uint8 [n, H, W, C]."""
    nothing = {"eval_rows": 0, "unique": 0, "flip": False, "crop": 0, "cutout": 0, "mixup": 0.0}
    images = data.open_dataset("images", {"source": source, "evaluation": "test"} | nothing)
    see = jax.jit(adversarial.classifier(source))

    def seen(pixels: np.ndarray) -> Seen:
        parts = (pixels[i : i + PART] for i in range(0, len(pixels), PART))
        features, classes = zip(*(see(images.standardised(part)) for part in parts))
        return np.concatenate(features), np.concatenate(classes)

    return seen


def codes(run: saved.Run, temperature: float, seed: int) -> np.ndarray:
    """Codes int [n, places] drawn for the captions of the evaluation set."""
    writer = writing.Writer(step.build_model(run.config), rules.Sampling(temperature), -1)
    state, given = run.state(), run.config.data.config.text
    variables, found = {"params": state.params, **state.extra}, []
    for part in range(-(-run.dataset.eval_rows // PART)):
        batch = {"tokens": run.dataset.eval_batch(part, PART)["tokens"]}
        lengths = np.full(PART, given, np.int32)
        # What a row draws depends on its number in the part.
        written = writing.written(writer, variables, batch, lengths, seed=seed * 1000 + part)
        (last,) = deque(written, maxlen=1)
        found.append(np.stack(last.tokens))
    return np.concatenate(found)[: run.dataset.eval_rows]


def show(name: str, made: Seen, real: Seen) -> None:
    """Prints how one set of pictures is like another of as many, each with its error."""
    rows = {"made": made[0], "real": real[0], "class": made[1], "real_class": real[1]}
    other, units = (made[1] != real[1]).astype(np.float64), np.ones(len(real[1]))
    task = tasks.load("adversarial")
    found = evaluation.metrics(task, None, {}, {"loss": other}, units, rows)
    found["other"] = found.pop("loss")
    told = (f"{key} {found[key][0]:.3g} +- {found[key][1]:.1g}" for key in SHOWN)
    print(f"{name}: {', '.join(told)} ({len(units):,} of each)", flush=True)


SHOWN = ("frechet", "floor", "precision", "recall", "variety", "other")


def _bytes(images: np.ndarray) -> np.ndarray:
    return np.rint(images * 255).astype(np.uint8)


if __name__ == "__main__":
    flags.DEFINE_list("runs", [], "Folders of runs of text2image.")
    flags.DEFINE_float("temperature", 1.0, "Of what is drawn.")
    flags.DEFINE_integer("seed", 0, "Of what is drawn.")
    run_main(main)
