"""Recordings sample by sample, with what is being said, for models that make sound.

A row is a window of a recording, in samples of 256 levels (`encode`): first some that are only
heard, then those that count, which windows share out among themselves. So a model whose receptive
field fits into the first part scores each sample as if it had the whole recording before it, and no
padding is ever scored; the first samples of a recording are not scored at all. D counts the samples
that do. Every `hop` milliseconds have a label, see data.sources.audio.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data import order
from data.sources import audio, speech
from data.sources.audio import Audio, How

LEVELS = 256
MU = LEVELS - 1
FULL = 1 << 15  # of a sample of 16 bits
SILENCE = 64.0  # root mean square of a hop, of FULL; what is softer is silent
MOST = {"rate": 48_000, "context": 1 << 16, "crop": 1 << 20}
PAUSE = 0.25  # seconds after each of several prompts


@dataclasses.dataclass(frozen=True)
class Config:
    """Which recordings, and how they are cut."""

    source: str  # "espeak:VOICE", "prompts" or "folder:PATH", see data.speech
    evaluation: str  # "test", or "validation", to tune on; neither is trained on
    eval_rows: int  # evaluate on at most this many windows; 0 = all
    unique: int  # train on this many recordings, which are among those of any more; 0 = all
    labels: str  # "phonemes", or "none"
    rate: int  # samples a second, to which recordings are brought
    hop: float  # milliseconds that have one label
    context: int  # samples of a row that are only heard
    crop: int  # samples of a row that count


class AudioDataset:
    """Recordings in memory; see data.Dataset."""

    unit = "sample"

    def __init__(self, config: Config, found: audio.Source):
        self._config, self._how = config, _how(config)
        self._train, train_note = _windows(config, found.train, "to train on")
        self._eval, eval_note = _windows(config, found.held_out, f"of the {config.evaluation} side")
        self.train_rows, self.eval_rows = len(self._train.starts), len(self._eval.starts)
        if config.eval_rows:
            self.eval_rows = min(self.eval_rows, config.eval_rows)
        self.units_per_row = float(self._train.counts.mean(dtype=np.float64))
        own = {"play": self.play} | ({"prompt": self.prompt} if config.labels != "none" else {})
        self.facts = facts(config) | own
        self.note = f"{config.source}: {found.note}; {train_note}, {eval_note}"
        decided = [order.VERSION, found.train.digest, found.held_out.digest, self.eval_rows]
        decided += [config.rate, config.hop, config.context, config.crop, SILENCE]
        self.digest = hashlib.sha256(f"audio {decided}".encode()).hexdigest()

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `tokens` and `targets` int32 [B / K, context + crop], each sample and
        the next one; `counted` and `spoken` bool, as long; `phonemes` int32 [B / K, labels, 3] and
        `places` float32 [B / K, labels]; `weight` float32 [B / K]."""
        rows = order.example_indices(seed, step, batch_size, shard, self.train_rows)
        return _batch(self._config, self._train, rows)

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: as `train_batch`, with B rows."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        return order.pad(_batch(self._config, self._eval, np.asarray(rows)), batch_size)

    def prompt(self, texts: list[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """A batch with room for what texts sound like, and how much of each row is given, see
        `begin`. Raises ValueError for a text that cannot be spoken."""
        plain = [speech.plain(text, f"{text[:40]!r}") for text in texts]
        return begin(self._config, audio.say(plain, self._how))

    def play(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
        """Samples of `LEVELS` as one recording, int16, with a pause between; and its rate."""
        pause = np.zeros(round(PAUSE * self._config.rate), np.int16)
        parts = [part for row in rows for part in (decode(row), pause)]
        return np.concatenate(parts[:-1]), self._config.rate


@dataclasses.dataclass(frozen=True)
class _Windows:
    """Recordings of which each has a window, and where windows begin."""

    held: Audio
    levels: np.ndarray  # uint8, all samples
    spoken: np.ndarray  # bool, of each label
    starts: np.ndarray  # int64 of each window, its first sample
    labels: np.ndarray  # int64, and its first label
    counts: np.ndarray  # int64, how many of its samples count
    rest: np.ndarray  # int64, labels from there to the end of the recording


def encode(samples: np.ndarray) -> np.ndarray:
    """int16 -> uint8, mu-law: levels are even on a scale that is nearly one of logarithms.

    sign(x) ln(1 + 255 |x|) / ln(256) of -1 to 1, rounded to 0 to 255 (van den Oord et al. 2016,
    arXiv:1609.03499, section 2.2); silence is 128.
    """
    x = samples.astype(np.float64) / FULL
    companded = np.sign(x) * np.log1p(MU * np.abs(x)) / np.log1p(MU)
    return np.floor((companded + 1) / 2 * MU + 0.5).astype(np.uint8)


def decode(levels: np.ndarray) -> np.ndarray:
    """The middle of each level, int16; silence is 0."""
    companded = 2 * np.asarray(levels, np.float64) / MU - 1
    companded = np.where(levels == LEVELS // 2, 0, companded)
    x = np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(MU)) / MU
    return np.clip(np.rint(x * FULL), -FULL, FULL - 1).astype(np.int16)


def begin(
    config: Config, said: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A batch of rows that begin with a context of silence, which is given, and have room for
    sound; `ends` int32 [n] says how much. And how many samples are given, int32 [n].

    Args:
      config: of the data.
      said: labels of each row, `phonemes` and `places` of data.sources.audio.Audio.
    """
    hop = _how(config).hop
    before, longest = config.context // hop, max(len(places) for _, places in said)
    batch = _empty(dataclasses.replace(config, crop=longest * hop), len(said))
    batch["phonemes"][:] = audio.IDS[audio.PAUSE]
    for row, (phonemes, places) in enumerate(said):
        batch["phonemes"][row, before : before + len(places)] = phonemes
        batch["places"][row, before : before + len(places)] = places
    batch["ends"] = np.array([len(places) * hop for _, places in said], np.int32)
    return batch, np.full(len(said), config.context, np.int32)


def open(config: Config) -> AudioDataset:
    """Opens recordings, synthesising or aligning what no cache has (ValueError or OSError, in one
    line, where they are wrong or not there)."""
    _check(config)
    wanted = config.source, _how(config), config.evaluation, config.unique, 0
    if config.source.startswith("espeak:"):  # each phrase has a window or more
        wanted = *wanted[:4], config.eval_rows
    found = audio.find(*wanted)
    speech.check_unique(config.unique, len(found.train.lengths))
    return AudioDataset(config, found)


def facts(config: Config) -> dict[str, Any]:
    """See data.facts. `hop` is in samples, `labels` how many there are, 0 among them."""
    _check(config)
    return {
        "unit": AudioDataset.unit,
        "vocab_size": LEVELS,
        "labels": 1 + len(audio.IDS),
        "hop": _how(config).hop,
        "context": config.context,
        "rate": config.rate,
    }


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec."""
    _check(config)
    return _empty(config, 1)


def _how(config: Config) -> How:
    return How(config.rate, round(config.rate * config.hop / 1000), config.labels)


def _windows(config: Config, held: Audio, name: str) -> tuple[_Windows, str]:
    """All windows of recordings, and in words how many there are."""
    if not len(held.lengths):
        raise ValueError(f"data.source: there are no recordings {name}; allowed: some")
    hop, (context, crop) = _how(config).hop, (config.context, config.crop)
    lengths = held.lengths.astype(np.int64)
    labels = -(-lengths // hop)
    scored = np.maximum(lengths - 1 - context, 0)  # the last sample is followed by none
    windows = -(-scored // crop)
    of = np.repeat(np.arange(len(lengths)), windows)
    number = np.arange(len(of)) - (np.cumsum(windows) - windows)[of]
    first, first_label = (np.cumsum(n) - n for n in (lengths, labels))
    note = f"{scored.sum():,} samples of {len(lengths):,} recordings {name}"
    if (windows == 0).any():
        note += f", {(windows == 0).sum():,} of which are too short"
    if not len(of):
        raise ValueError(f"data.context: {context}; {note}; allowed: what some are longer than")
    soft = np.concatenate([_soft(part, hop) for part in np.split(held.samples, first[1:])])
    found = _Windows(
        held,
        encode(held.samples),
        ~soft,
        first[of] + number * crop,
        first_label[of] + number * (crop // hop),
        np.minimum(crop, scored[of] - number * crop),
        labels[of] - number * (crop // hop),
    )
    return found, note


def _soft(samples: np.ndarray, hop: int) -> np.ndarray:
    """Which hops of a recording are silent, bool."""
    starts = np.arange(0, len(samples), hop)
    squares = np.add.reduceat(samples.astype(np.float64) ** 2, starts)
    return squares < SILENCE**2 * np.diff(np.append(starts, len(samples)))


def _empty(config: Config, rows: int) -> dict[str, np.ndarray]:
    length = config.context + config.crop
    labels = length // _how(config).hop
    return {
        "tokens": np.full((rows, length), LEVELS // 2, np.int32),
        "targets": np.full((rows, length), LEVELS // 2, np.int32),
        "counted": np.zeros((rows, length), bool),
        "spoken": np.zeros((rows, length), bool),
        "phonemes": np.zeros((rows, labels, 3), np.int32),
        "places": np.zeros((rows, labels), np.float32),
        "weight": np.ones(rows, np.float32),
    }


def _batch(config: Config, own: _Windows, rows: np.ndarray) -> dict[str, np.ndarray]:
    batch, hop = _empty(config, len(rows)), _how(config).hop
    for i, row in enumerate(rows):
        start, n = own.starts[row], config.context + own.counts[row]
        levels = own.levels[start : start + n + 1]
        batch["tokens"][i, :n], batch["targets"][i, :n] = levels[:-1], levels[1:]
        batch["counted"][i, config.context : n] = True
        label, labels = own.labels[row], min(own.rest[row], batch["places"].shape[1])
        span = slice(label, label + labels)
        batch["phonemes"][i, :labels] = own.held.phonemes[span]
        batch["places"][i, :labels] = own.held.places[span]
        spoken = np.repeat(own.spoken[span], hop)[1 : n + 1]  # of the targets
        batch["spoken"][i, : len(spoken)] = spoken
    batch["spoken"] &= batch["counted"]
    return batch


def _check(config: Config) -> None:
    speech.check(config.source)
    for field, allowed in (("evaluation", tuple(speech.SIDES)), ("labels", audio.LABELS)):
        if getattr(config, field) not in allowed:
            given = f"data.{field}: {getattr(config, field)!r}"
            raise ValueError(f"{given}; allowed: {', '.join(allowed)}")
    for field in ("eval_rows", "unique"):
        if getattr(config, field) < 0:
            raise ValueError(f"data.{field}: {getattr(config, field)}; allowed: 0 (all), or more")
    for field, most in MOST.items():
        if not 1 <= getattr(config, field) <= most:
            raise ValueError(f"data.{field}: {getattr(config, field)}; allowed: 1 to {most}")
    hop = config.rate * config.hop / 1000
    if not 1 <= hop <= 10_000 or hop != round(hop):
        allowed = "milliseconds of a whole number of samples, 1 to 10000"
        raise ValueError(f"data.hop: {config.hop}; allowed: {allowed}")
    for field in ("context", "crop"):
        if getattr(config, field) % hop:
            allowed = f"a multiple of a hop, {round(hop)} samples"
            raise ValueError(f"data.{field}: {getattr(config, field)}; allowed: {allowed}")
