"""What runs of wavenet reach beside tables of counts, and whether anybody understands them.

    python -m benchmarks.voices --runs=runs/voice [--listener=runs/ctc] [--say=32]

Prints nats per sample of the evaluation set by how often a level occurs in training (order 0) and
after the one before it (order 1), each with its error, and what the records of the runs say.

With a run of ctc as listener each run says that many recordings of its evaluation set, from their
phonemes and when these are spoken, at temperature 1: the character error rate of what is heard,
beside that of the recordings themselves, and the log-spectral distance (Gray and Markel 1976) to
them, beside that of the recordings to one another.
"""

import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from data import Dataset, audio
from data.sources import audio as sources
from train import cache, record, saved, step
from train.cli import InputError, define_path, run_main
from train.evaluation import mean_and_error
from train.generate import rules, speaking, transcribing, writing
from train.tasks import transcribe

LEVELS, BEAMS, SEED = audio.LEVELS, 16, 0
BLEND = 20.0  # samples that order 0 counts for, after a level
WINDOW, FLOOR = 256, 1.0  # samples of a spectrum, and the least power of a frequency in it


def main() -> int:
    """Prints what the runs reach."""
    given = flags.FLAGS
    if not given.runs:
        raise InputError("--runs: missing; folders of runs of wavenet")
    cache.use_cache()
    listener = saved.open_run(saved.folder(given.listener), 0) if given.listener else None
    if listener and "hear" not in listener.dataset.facts:
        raise InputError(f"--listener: {given.listener} hears nothing; give a run of ctc")
    tables: dict[str, list] = {}
    for name in given.runs:
        run = saved.open_run(saved.folder(name), 0)
        if run.config.data.name != "audio":
            raise InputError(f"--runs: {name} is of data {run.config.data.name}; give wavenet")
        if run.dataset.digest not in tables:
            tables[run.dataset.digest] = orders(run.dataset)
            for order, (mean, error) in enumerate(tables[run.dataset.digest]):
                print(f"order {order}: {mean:.3f} +- {error:.3f} nats per sample")
        print(name)
        metrics = record.load(Path(name) / "record.json").metrics
        for metric, (value, error) in sorted(metrics.items()):
            print(f"  {metric} {value:.4g} +- {error:.2g}")
        if listener:
            _say(run, listener, given.say)
    return 0


def orders(dataset: Dataset) -> list[tuple[float, float]]:
    """Nats per sample of the evaluation set by tables of orders 0 and 1, with their errors."""
    pairs = np.zeros((LEVELS, LEVELS))
    for number in range(dataset.train_rows):
        batch = dataset.train_batch(0, number, 1)
        both = LEVELS * batch["tokens"] + batch["targets"]
        counts = np.bincount(both[batch["counted"]], minlength=LEVELS**2)
        pairs += counts.reshape(LEVELS, LEVELS)
    alone = (pairs.sum(axis=0) + 1) / (pairs.sum() + LEVELS)
    after = (pairs + BLEND * alone) / (pairs.sum(axis=1, keepdims=True) + BLEND)
    sums, units = [], []
    for number in range(dataset.eval_rows):
        batch = dataset.eval_batch(number, 1)
        said = alone[batch["targets"]], after[batch["tokens"], batch["targets"]]
        sums.append([-(np.log(p) * batch["counted"]).sum() for p in said])
        units.append(batch["counted"].sum())
    return [mean_and_error(own, np.array(units)) for own in np.array(sums).T]


def _say(run: saved.Run, listener: saved.Run, count: int) -> None:
    """Lets a run say recordings that were held out, and a listener hear them and the recordings."""
    config = run.config.data.config
    how = sources.How(config.rate, round(config.rate * config.hop / 1000), config.labels)
    held = sources.find(config.source, how, config.evaluation, config.unique, count).held_out
    real = np.split(held.samples, np.cumsum(held.lengths)[:-1])[:count]
    ends = np.cumsum(-(-held.lengths // how.hop))[:-1]
    labels = [*zip(np.split(held.phonemes, ends), np.split(held.places, ends))][:count]
    batch, lengths = audio.begin(config, labels)
    state = run.state()
    writer = writing.Writer(step.build_model(run.config), rules.Sampling(1.0), -1)
    variables = {"params": state.params, **state.extra}
    asked = {"seed": SEED, "every": batch["tokens"].shape[1]}
    (last,) = deque(writing.written(writer, variables, batch, lengths, **asked), maxlen=1)
    made = [audio.decode(row)[: len(x)] for row, x in zip(last.tokens, real)]
    texts = held.texts[: len(real)]
    following = [np.resize(x, len(y)) for x, y in zip(real[1:] + real[:1], real)]
    for name, heard, beside in (("said", made, made), ("recorded", real, following)):
        cer, error = mean_and_error(*_heard(listener, heard, config.rate, texts))
        away = [log_spectral_distance(x, y) for x, y in zip(real, beside)]
        spread = np.std(away, ddof=1) / len(away) ** 0.5
        print(f"  {name}: CER {cer:.3f} +- {error:.3f}; {np.mean(away):.1f} +- {spread:.1f} dB")


def _heard(listener: saved.Run, sounds: list, rate: int, texts: Any) -> tuple:
    """Errors of what is heard of each sound, and how many characters it has."""
    state, model = listener.state(), step.build_model(listener.config)
    variables, facts = {"params": state.params, **state.extra}, listener.dataset.facts
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.wav" for number in range(len(sounds))]
        for path, samples in zip(paths, sounds):
            speaking.save(path, samples, rate)
        batches = facts["hear"](paths)
    search = BEAMS, transcribing.Prior()  # by sound alone
    heard = (transcribing.transcribed(model, variables, batch, *search) for batch in batches)
    said = map(facts["decode"], heard)
    errors = [transcribe.distance(tuple(a), tuple(b)) for a, b in zip(said, texts)]
    return np.array(errors, float), np.array([len(text) for text in texts], float)


def log_spectral_distance(one: np.ndarray, other: np.ndarray) -> float:
    """In dB: the root mean square, over frequencies, of the difference of log spectra of frames of
    two recordings of a length; the mean over frames."""
    decibels = []
    for samples in (one, other):
        frames = np.lib.stride_tricks.sliding_window_view(samples.astype(float), WINDOW)
        power = np.abs(np.fft.rfft(frames[:: WINDOW // 2] * np.hanning(WINDOW))) ** 2 / WINDOW
        decibels.append(10 * np.log10(np.maximum(power, FLOOR)))
    return float(np.sqrt(np.square(decibels[0] - decibels[1]).mean(axis=1)).mean())


if __name__ == "__main__":
    flags.DEFINE_list("runs", [], "Folders of runs of wavenet.")
    define_path("listener", None, "Folder of a run of ctc.")
    flags.DEFINE_integer("say", 32, "Recordings that are said.", 2, 512)
    run_main(main)
