"""Recordings at one rate, and which phoneme is spoken when, for models that make sound.

Of its own speech eSpeak NG says where each phoneme begins. Those of what a person recorded are
where the same text, spoken by eSpeak NG, has them once the one is warped in time onto the other
(Sakoe and Chiba 1978, "Dynamic programming algorithm optimization for spoken word recognition").
"""

import functools
import hashlib
import json
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.signal

from data.sources import cache, espeak, sound, speech, wheel
from data.sources.espeak import Spoken
from data.sources.speech import SIDES, TRAIN, Recording

VERSION = 1
VOICE = "en-us"  # that says what a recording or a prompt says
MELS = 20  # bands of pitch by which two recordings are compared
MOST_CELLS = 1 << 26  # of a warping: 80 seconds on 80 seconds
LABELS = ("phonemes", "none")
PAUSE = "_"
# The names that eSpeak NG has for the phonemes of its English voices; the id of one is its place,
# from 1 on. All others, and all where there are no labels, are 0.
PHONEMES = (
    "_ ; ? 0 3 3: @ @- @2 @L A: A@ D E I I# I2 N O2 O: O@ OI S T U U@ V Z a a# aI aI3 aI@ aU aa "
    "b d dZ e@ eI f g h i i: i@ i@3 j k l m n n- o@ oU p r r- s t t# t2 tS u: v w z"
)
IDS = {name: number for number, name in enumerate(PHONEMES.split(), 1)}


class How(NamedTuple):
    """How recordings are read."""

    rate: int  # Hz
    hop: int  # samples that have one label
    labels: str  # of LABELS


class Audio(NamedTuple):
    """Recordings, one after another; each has a label for each hop that it begins."""

    samples: np.ndarray  # int16
    lengths: np.ndarray  # int32, samples of each recording
    phonemes: np.ndarray  # uint8 [labels, 3], the ids of the one before, this one, the one after
    places: np.ndarray  # float16 [labels], how far through this one it is, from 0 to 1
    digest: str  # of all this
    texts: tuple[str, ...]


class Source(NamedTuple):
    """What was found: recordings to train on and to evaluate on, and in words how they came."""

    train: Audio
    held_out: Audio
    note: str


def find(source: str, how: How, side: str, train: int, held_out: int) -> Source:
    """Reads a source of `data.audio.Config`.

    Args:
      source: where from, see data.sources.speech.
      how: recordings are read.
      side: to evaluate on, of data.sources.speech.SIDES.
      train, held_out: at most so many recordings of each; 0 = all.
    """
    speech.check(source)
    kind, _, rest = source.partition(":")
    if kind == "espeak":
        texts, note = speech.verses()
        wanted = {TRAIN: train, SIDES[side]: held_out}
        return Source(*(_spoken(rest, texts[s], most, how) for s, most in wanted.items()), note)
    found, parts, note = _recorded(source, how)
    chosen, rule = speech.sides(found, side, train, held_out)
    return Source(*(_joined([parts[i] for i in rows]) for rows in chosen), f"{rule}{note}")


def say(texts: list[str], how: How) -> list[tuple[np.ndarray, np.ndarray]]:
    """The labels with which eSpeak NG would say texts, [labels, 3] and [labels], see `Audio`."""
    spoken, rate = espeak.speak(texts, VOICE)
    return [_labels(one, _hops(one, rate, how), _count(one.samples, rate, how)) for one in spoken]


def warp(theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Where in one recording each frame of another is first, int [m].

    The path from both beginnings to both ends, one frame of either or of both at a time, along
    which frames differ least in the sum of squares.

    Args:
      theirs, ours: float [m, bands] and [n, bands].
    """
    m, n = len(theirs), len(ours)
    squares = (theirs**2).sum(1)[:, None] + (ours**2).sum(1)[None] - 2 * theirs @ ours.T
    moves = np.zeros((m + n - 1, m), np.uint8)
    before, last = np.full(m + 1, np.inf), np.full(m + 1, np.inf)  # of diagonals; place 0 is none
    for k in range(m + n - 1):
        rows = np.arange(max(0, k - n + 1), min(m, k + 1))
        ways = np.stack([before[rows], last[rows], last[rows + 1]])  # of both, of theirs, of ours
        moves[k, rows] = ways.argmin(axis=0)
        best = ways.min(axis=0) if k else np.zeros(1)
        before, last = last, np.full(m + 1, np.inf)
        last[rows + 1] = best + squares[rows, k - rows]
    i, j, first = m - 1, n - 1, np.zeros(m, int)
    while i >= 0 and j >= 0:
        first[i], move = j, moves[i + j, i]
        i, j = i - (move != 2), j - (move != 1)
    return first


def _spoken(voice: str, texts: list[str], most: int, how: How) -> Audio:
    """The first `most` (0: all), synthesised in whole blocks, which the cache keeps."""
    n, size = min(most or len(texts), len(texts)), speech.BLOCK
    blocks = [_block(voice, tuple(texts[i : i + size]), how) for i in range(0, n, size)]
    return _joined([one for block in blocks for one in block][:n])


def _block(voice: str, texts: tuple[str, ...], how: How) -> list[Audio]:
    def make() -> list[Audio]:
        spoken, rate = espeak.speak(list(texts), voice)
        found = [Recording(text, one.samples, TRAIN, rate) for text, one in zip(texts, spoken)]
        own = [_hops(one, rate, how) for one in spoken]
        return [_labelled(*each, how) for each in zip(found, spoken, own)]

    return _kept([voice, texts, how], texts, make)


# Of a plan's runs each may be on another number of recordings: they are read once a process.
@functools.lru_cache(maxsize=1)
def _recorded(source: str, how: How) -> tuple[list[Recording], list[Audio], str]:
    found, note = speech.recordings(source)
    texts = tuple(one.text for one in found)

    def make() -> list[Audio]:
        if how.labels == "none":
            return [_labelled(one, None, None, how) for one in found]
        spoken, rate = espeak.speak(list(texts), VOICE)
        own = [_warped(one, to, rate, how) for one, to in zip(spoken, found)]
        return [_labelled(*each, how) for each in zip(found, spoken, own)]

    return found, _kept([speech.digest(found), how], texts, make), note


def _warped(spoken: Spoken, to: Recording, rate: int, how: How) -> np.ndarray:
    """The label of a recording with which each phoneme of another one of its text begins.

    Raises ValueError where one is too short or too long for that.
    """
    step = 1000 * how.hop / how.rate
    heard = [sound.log_mel(*each, MELS, step) for each in ((spoken.samples, rate), to[1::2])]
    if len(heard[0]) * len(heard[1]) > MOST_CELLS:
        seconds = len(to.samples) / to.rate
        what = f"a recording of {to.text[:40]!r} has {seconds:.4g} seconds"
        raise ValueError(f"data.source: {what}; allowed: what can be aligned, about a minute")
    return warp(*heard)[np.minimum(_hops(spoken, rate, how), len(heard[0]) - 1)]


def _hops(spoken: Spoken, rate: int, how: How) -> np.ndarray:
    """The label with which each phoneme begins."""
    return np.array(spoken.starts, np.int64) * how.rate // (rate * how.hop)


def _count(samples: np.ndarray, rate: int, how: How) -> int:
    """Labels of a recording."""
    return -(-len(samples) * how.rate // (rate * how.hop))


def _labels(spoken: Spoken | None, starts: np.ndarray | None, count: int) -> tuple:
    """`phonemes` and `places`, see `Audio`; a pause goes before the first phoneme."""
    if spoken is None:
        return np.zeros((count, 3), np.uint8), np.zeros(count, np.float16)
    names = [PAUSE if name.startswith(PAUSE) else name for name in (PAUSE, *spoken.phonemes)]
    ids = np.array([IDS[PAUSE], *(IDS.get(name, 0) for name in names), IDS[PAUSE]], np.uint8)
    ends = np.array([*starts, count])
    at = np.searchsorted(starts, np.arange(count), side="right")  # 0: before the first
    begin = np.concatenate([[0], starts])
    places = (np.arange(count) - begin[at]) / np.maximum(ends[at] - begin[at], 1)
    return np.stack([ids[at], ids[at + 1], ids[at + 2]], axis=1), places.astype(np.float16)


def _labelled(one: Recording, spoken: Spoken | None, starts: np.ndarray | None, how: How) -> Audio:
    """A recording with its labels, at the rate that is asked for."""
    samples, shared = one.samples, math.gcd(one.rate, how.rate)
    if one.rate != how.rate:
        made = scipy.signal.resample_poly(
            samples.astype(np.float64), how.rate // shared, one.rate // shared
        )
        samples = np.clip(np.rint(made), -(1 << 15), (1 << 15) - 1).astype(np.int16)
    said = None if how.labels == "none" else spoken
    labels = _labels(said, starts, _count(samples, how.rate, how))
    return Audio(samples, np.array([len(samples)], np.int32), *labels, "", (one.text,))


def _kept(identity: list, texts: tuple[str, ...], make: Callable[[], list[Audio]]) -> list[Audio]:
    """Recordings of the cache, which are made where it has none."""
    pin = wheel.PINS["espeakng"].sha256
    told = json.dumps([VERSION, sound.VERSION, pin, PHONEMES, identity])
    name = f"audio-{hashlib.sha256(told.encode()).hexdigest()[:32]}"

    def arrays() -> dict[str, np.ndarray]:
        joined = _joined(make())._asdict()
        return {field: joined[field] for field in Audio._fields[:4]}

    held, hop = cache.arrays(name, "audio.npz", arrays), identity[-1].hop
    ends = np.cumsum(held["lengths"])[:-1]
    frames = np.cumsum(-(-held["lengths"] // hop))[:-1]
    parts = (
        np.split(held["samples"], ends),
        held["lengths"][:, None],
        np.split(held["phonemes"], frames),
        np.split(held["places"], frames),
    )
    return [Audio(*each, "", (text,)) for *each, text in zip(*parts, texts)]


def _joined(found: list[Audio]) -> Audio:
    """Recordings one after another."""
    columns = list(zip(*found)) if found else [()] * len(Audio._fields)
    empty = np.zeros(0, np.int16), np.zeros(0, np.int32), np.zeros((0, 3), np.uint8)
    first = (*empty, np.zeros(0, np.float16))
    arrays = [np.concatenate([none, *own]) for none, own in zip(first, columns)]
    sha256 = hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in arrays))
    texts = tuple(text for own in columns[5] for text in own)
    return Audio(*arrays, sha256.hexdigest(), texts)
