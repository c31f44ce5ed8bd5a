"""ctc on synthesised verses: from sound to characters.

    python -m train --config=configs/ctc.py:width=64,frames=6e6 --workdir=runs/ctc
    python -m train.generate --workdir=runs/ctc --wav=FILE.wav

Some minutes on one core; a run of width 48 on 6.2e6 frames, 2.15 hours of speech, reached a CER of
.051 and a WER of .19 (benchmarks/results/families/ctc.md).

Units are frames of 12.5 ms: 288,000 an hour. CER and WER are of phrases of chapters that no run
was trained on.
"""

from ml_collections import ConfigDict

from configs import base

PASSES = 10  # over the recordings of a run, of every run
UNITS_A_ROW = 145.0  # frames of a phrase
MOST = 40_000  # phrases


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and frames."""
    return base.run(recipe, dials, 64, 6e6, UNITS_A_ROW)


def recipe(width: int, frames: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of frames heard.

    A run makes the same number of passes whatever its size, over as many recordings as that takes:
    so D stands for speech that differs, and a law in D is one of it. Measured on the validation
    side (benchmarks/results/families/ctc.md), at width 32 and 8e5 frames: batches of 4 (.54 nats)
    beat 8 (.62) and 16 (.75); of learning rates .005, .01 and .02 at batches of 8 (.69, .62, .60)
    the second is taken for those of 4, where .02 is as good, and to fall as 1 / width; 5 passes
    (.58) beat 10 (.62) and 20 (.73), and want more speech. An LSTM, not a conformer
    (configs/ctc_conformer.py): that is behind at equal compute and at equal time.
    """
    if width % 2:
        raise base.BadDial(f"width: {width}; must be even")
    config = base.get_config()
    config.data = {
        "name": "speech",
        "source": "espeak:en-us",
        "evaluation": "test",
        "eval_rows": 512,
        "unique": min(MOST, max(1, round(frames / PASSES / UNITS_A_ROW))),
        "mels": 40,
        "hop": 12.5,
        "stride": 2,
        "frames": 208,
        "characters": 44,
        "masks": 0,
        "pace": 0.0,
    }
    config.model = {
        "name": "ctc",
        "classes": 0,  # as many as the alphabet has characters, and the blank
        "stride": 0,  # that of the data
        "layers": 2,
        "width": width,
        "block": "lstm",
        "heads": 0,
        "hidden": 0,
        "kernel": 0,
        "dropout": 0.0,
        "dtype": "float32",
    }
    config.task = {"name": "transcribe"}
    config.batch_size = 4
    config.log_every = max(1, round(base.steps(config, frames, UNITS_A_ROW) / 200))
    config.checkpoint.every = 5000
    config.evaluation.batch_size = 64
    config.optimizer.learning_rate = min(0.01, 0.32 / width)
    config.optimizer.b2 = 0.98
    return config
