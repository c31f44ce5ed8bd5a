"""Recordings of speech and what is said in them, for models that transcribe.

A row is a recording: log energies of bands of pitch, frame by frame, zeros after its end, and its
text in characters, 0 after its end. One that does not fit into the lengths of a row, or whose text
has more characters than the model takes steps (with a step more between two that are alike, for
these are told apart by a blank), is left out, which the note says. D counts frames of recordings
as they were, whatever augmentation makes of them.
"""

import dataclasses
import functools
import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from data import augment, order
from data.sources import sound, speech
from data.sources.speech import ALPHABET, Sound, Speech

EVAL_SEED = 17
MOST = {"mels": 256, "stride": 16, "frames": 1 << 14, "characters": 1 << 12}
MOST_FILES = 256  # that are transcribed together
MOST_MASKS, MOST_PACE = 8, 0.5
NEWER = {"masks": 0, "pace": 0.0}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which recordings, and how they are heard."""

    # "espeak:VOICE" (synthesised verses; "espeak:VOICE,VOICE": by turns), "prompts" (of a telephone
    # exchange), or "folder:PATH", of WAV files with a text beside each
    source: str
    evaluation: str  # "test", or "validation", to tune on; neither is trained on
    eval_rows: int  # evaluate on at most this many; 0 = all
    unique: int  # train on this many, which are among those of any more; 0 = all
    mels: int  # M, bands of pitch
    hop: float  # milliseconds from a frame to the next
    stride: int  # frames that a model hears in one step
    frames: int  # F, of a row
    characters: int  # C, of a row
    # Of what is trained on:
    masks: int  # spans of bands that are not heard, and as many of frames; see data.augment.masked
    pace: float  # 0.1: up to a tenth faster or slower, higher or lower; see data.augment.paced


class SpeechDataset:
    """Recordings in memory; see data.Dataset."""

    unit = "frame"

    def __init__(self, config: Config, found: speech.Source):
        self._config = config
        self._train, train_note = _fitting(config, found.train, "to train on")
        self._eval, eval_note = _fitting(config, found.held_out, f"of the {config.evaluation} side")
        self.train_rows, self.eval_rows = len(self._train.frames), len(self._eval.frames)
        self.units_per_row = float(self._train.frames.mean(dtype=np.float64))
        hours = self._train.frames.sum() * config.hop / 3.6e6
        self.facts = facts(config) | {
            "hours": hours,
            "hear": functools.partial(_hear, config),
            "texts": lambda: map(encode, self._train.texts),
        }
        self.note = f"{config.source}: {found.note}; {train_note} ({hours:.3g} hours), {eval_note}"
        decided = [order.VERSION, sound.VERSION, found.train.digest, found.held_out.digest]
        decided += [config.mels, config.hop, config.stride, config.frames, config.characters]
        if config.masks or config.pace:
            decided += [config.masks, config.pace]
        self.digest = hashlib.sha256(f"speech {decided}".encode()).hexdigest()

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `speech` float32 [B / K, F, M], `frames` int32 [B / K], `labels` int32
        [B / K, C], `weight` float32 [B / K]."""
        rows = order.example_indices(seed, step, batch_size, shard, self.train_rows)
        batch = _batch(self._config, self._train, rows)
        if self._config.masks or self._config.pace:
            rngs = order.rngs(seed, step, order.shard_rows(batch_size, shard))
            for i, each in enumerate(zip(rngs, rows)):
                heard = self._augmented(*each)
                batch["speech"][i], batch["frames"][i] = 0, len(heard)
                batch["speech"][i, : len(heard)] = heard
        return batch

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: as `train_batch`, with B rows."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        return order.pad(_batch(self._config, self._eval, np.asarray(rows)), batch_size)

    def _augmented(self, rng: np.random.Generator, row: int) -> np.ndarray:
        c, start, text = self._config, self._train.starts[row], self._train.texts[row]
        heard = self._train.features[start : start + self._train.frames[row]].astype(np.float32)
        if c.pace:
            size = range(steps(text) * c.stride, c.frames + 1)
            heard = augment.paced(rng, heard, c.pace, size)
        return augment.masked(rng, heard, c.masks)


class _Rows:
    """Recordings of which all fit into a row."""

    def __init__(self, held: Speech, chosen: np.ndarray):
        ends = np.cumsum(held.frames, dtype=np.int64)
        self.features, self.frames = held.features, held.frames[chosen]
        self.starts = (ends - held.frames)[chosen]
        self.texts = [held.texts[i] for i in chosen]


def open(config: Config) -> SpeechDataset:
    """Opens recordings, synthesising what no cache has (ValueError or OSError, in one line, where
    they are wrong or not there)."""
    _check(config)
    wanted = config.source, _sound(config), config.evaluation, config.unique, config.eval_rows
    found = speech.find(*wanted)
    speech.check_unique(config.unique, len(found.train.texts))
    return SpeechDataset(config, found)


def facts(config: Config) -> dict[str, Any]:
    """See data.facts."""
    _check(config)
    return {
        "unit": SpeechDataset.unit,
        "classes": 1 + len(ALPHABET),
        "stride": config.stride,
        "decode": decode,
    }


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec."""
    _check(config)
    return _empty(config, 1)


def decode(ids: np.ndarray) -> str:
    """The text of characters; 0 is none."""
    return "".join(ALPHABET[i - 1] for i in np.asarray(ids).tolist() if i)


def encode(text: str) -> np.ndarray:
    """The characters of a text in the alphabet, int32, from 1 on."""
    return np.array([1 + ALPHABET.index(character) for character in text], np.int32)


def steps(text: str) -> int:
    """The fewest steps in which a text can be said: one a character, one between two alike."""
    return len(text) + sum(a == b for a, b in itertools.pairwise(text))


def _sound(config: Config) -> Sound:
    return Sound(config.mels, config.hop)


def _fitting(config: Config, held: Speech, name: str) -> tuple[_Rows, str]:
    """What fits into a row, and in words how many do and why others do not."""
    if not held.texts:
        raise ValueError(f"data.source: there are no recordings {name}; allowed: some")
    room = held.frames <= config.frames
    room &= np.array([len(text) for text in held.texts]) <= config.characters
    slow = np.array([steps(text) for text in held.texts]) <= held.frames // config.stride
    note = f"{(room & slow).sum():,} of {len(held.texts):,} recordings {name} fit"
    if (room & ~slow).any():
        note += f", {(room & ~slow).sum():,} not for they have more characters than steps"
    if not (room & slow).any():
        size = f"data.frames, data.characters: {config.frames}, {config.characters}"
        raise ValueError(f"{size}: {note}; allowed: what some fit into")
    return _Rows(held, np.flatnonzero(room & slow)), note


def _empty(config: Config, rows: int) -> dict[str, np.ndarray]:
    return {
        "speech": np.zeros((rows, config.frames, config.mels), np.float32),
        "frames": np.zeros(rows, np.int32),
        "labels": np.zeros((rows, config.characters), np.int32),
        "weight": np.ones(rows, np.float32),
    }


def _batch(config: Config, held: _Rows, rows: np.ndarray) -> dict[str, np.ndarray]:
    batch = _empty(config, len(rows))
    for i, row in enumerate(rows):
        start, frames, text = held.starts[row], held.frames[row], held.texts[row]
        batch["speech"][i, :frames] = held.features[start : start + frames]
        batch["frames"][i] = frames
        batch["labels"][i, : len(text)] = encode(text)
    return batch


def _hear(config: Config, paths: list[Path]) -> list[dict[str, np.ndarray]]:
    """A batch of one row for each WAV file, as long as that is, up to a whole step.

    Raises ValueError or OSError, in a line that begins with the file, where it is no recording.
    """
    found = []
    for path in paths:
        heard = sound.log_mel(*sound.read_wav(path, path), *_sound(config))
        longer = dataclasses.replace(config, frames=-(-len(heard) // config.stride) * config.stride)
        batch = _empty(longer, 1)
        batch["speech"][0, : len(heard)], batch["frames"][0] = heard, len(heard)
        found.append(batch)
    return found


def _check(config: Config) -> None:
    speech.check(config.source)
    if config.evaluation not in speech.SIDES:
        allowed = ", ".join(speech.SIDES)
        raise ValueError(f"data.evaluation: {config.evaluation!r}; allowed: {allowed}")
    for field in ("eval_rows", "unique"):
        if getattr(config, field) < 0:
            raise ValueError(f"data.{field}: {getattr(config, field)}; allowed: 0 (all), or more")
    for field, most in MOST.items():
        if not 1 <= getattr(config, field) <= most:
            raise ValueError(f"data.{field}: {getattr(config, field)}; allowed: 1 to {most}")
    if config.frames % config.stride:
        allowed = f"a multiple of data.stride, {config.stride}"
        raise ValueError(f"data.frames: {config.frames}; allowed: {allowed}")
    if not 0 <= config.masks <= MOST_MASKS:
        raise ValueError(f"data.masks: {config.masks}; allowed: 0 (none) to {MOST_MASKS}")
    if not 0 <= config.pace <= MOST_PACE:
        raise ValueError(f"data.pace: {config.pace}; allowed: 0 (as it was) to {MOST_PACE}")
    if not 1 <= config.hop <= 100:
        raise ValueError(f"data.hop: {config.hop}; allowed: 1 to 100 milliseconds")
