"""Where speech comes from: recordings, what is said in them, and on which side each is.

Texts are of the letters a to z, apostrophes and single spaces. What is wrong with a source is one
line: an OSError where it is not there, else a ValueError.
"""

import functools
import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data import order
from data.sources import cache, espeak, files, sound, split, wheel
from data.sources.documents import EmbeddedDocuments
from data.sources.split import TEST, TRAIN, UNNAMED, VALIDATION

FORMAT = 1
ALPHABET = " 'abcdefghijklmnopqrstuvwxyz"  # the id of a character is its place, from 1 on
ALLOWED = "espeak:VOICE, prompts, folder:PATH"
BLOCK = 512  # phrases that are synthesised at a time
SHUFFLE_SEED = 23
PHRASE = (24, 44)  # characters of a phrase of a verse, at least and at most
NOBODY = -1  # a side of those that are left out
SHARE = 0.1  # of recordings, for the test, and as many for validation
SIDES = {"test": TEST, "validation": VALIDATION}
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
PROMPTS = "./usr/share/asterisk/sounds/en_US_f_Allison"
PROMPT_TEXTS = "./usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"


class Sound(NamedTuple):
    """How a recording is heard, see data.sources.sound.log_mel."""

    mels: int
    hop: float  # ms


class Speech(NamedTuple):
    """Recordings of one side."""

    texts: list[str]
    frames: np.ndarray  # int32 [n], of each
    features: np.ndarray  # float16 [sum of frames, mels]
    digest: str  # of samples and texts


class Source(NamedTuple):
    """What was found: recordings to train on and to evaluate on, and in words how they came."""

    train: Speech
    held_out: Speech
    note: str


def check(source: str) -> None:
    """Raises ValueError where a source is none."""
    if source != "prompts" and not re.match("(espeak|folder):.", source):
        raise ValueError(f"data.source: {source!r}; allowed: {ALLOWED}")


def check_unique(unique: int, given: int) -> None:
    """Raises ValueError where more recordings to train on are asked for than are there."""
    if unique > given:
        raise ValueError(f"data.unique: {unique}; allowed: 0 (all) to {given}")


def find(source: str, how: Sound, side: str, train: int, held_out: int) -> Source:
    """Reads a source of `data.speech.Config`.

    Args:
      source: where from.
      how: recordings are heard.
      side: to evaluate on, of SIDES.
      train, held_out: at most so many of each; 0 = all.
    """
    check(source)
    kind, _, rest = source.partition(":")
    if kind == "espeak":
        texts, left_out = verses()
        wanted = {TRAIN: train, SIDES[side]: held_out}
        parts = [_spoken(rest, texts[s], most, how) for s, most in wanted.items()]
        return Source(*parts, left_out)
    found, heard, note = _recorded(source, how)
    chosen, rule = sides(found, side, train, held_out)
    parts = [_joined([found[i] for i in rows], [heard[i] for i in rows], how) for rows in chosen]
    return Source(*parts, f"{rule}{note}")


def plain(text: str, where: object) -> str:
    """A text in the alphabet: lower case, punctuation as spaces.

    Raises ValueError that names the place where there is another character, or nothing.
    """
    words = re.sub(r'[-.,;:!?()"*\s]+', " ", text.lower().replace("\u2019", "'")).strip()
    if strange := re.search(f"[^{ALPHABET}]", words):
        allowed = "letters a to z, apostrophes, spaces and punctuation"
        raise ValueError(f"data.source: {where} has a {strange[0]!r}; allowed: {allowed}")
    if not words:
        raise ValueError(f"data.source: {where} has no words; allowed: what is said")
    return words


@functools.lru_cache(maxsize=1)
def verses() -> tuple[dict[int, list[str]], str]:
    """Phrases of the King James Version by their side, all different and in a shuffled order; and
    in words how they were held out.

    A side is of whole chapters, by a hash of their key, so that chapters that repeat one another
    (data/sources/corpus/PROVENANCE.md) are together; no phrase is on two sides.
    """
    found: dict[int, dict[str, None]] = {TEST: {}, VALIDATION: {}, TRAIN: {}}
    for document in EmbeddedDocuments().read():
        if document["source"] == "kjv":
            share = split.draw(document["key"]) / 2**64
            side = VALIDATION if share < 0.05 else TEST if share < 0.1 else TRAIN
            verses = document["text"].splitlines()[2:]  # a title is first
            found[side].update(dict.fromkeys(p for verse in verses for p in phrases(verse)))
    twice = found[TEST].keys() & found[VALIDATION].keys()
    held_out = found[TEST].keys() | found[VALIDATION].keys()
    before = len(found[TRAIN])
    found[TRAIN] = {phrase: None for phrase in found[TRAIN] if phrase not in held_out}
    found[VALIDATION] = {phrase: None for phrase in found[VALIDATION] if phrase not in twice}
    left_out = f"{before - len(found[TRAIN]):,} to train on left out that are held out too"
    note = f"phrases of verses, held out by chapters; {left_out}"
    return {side: _shuffled(list(texts)) for side, texts in found.items()}, note


def phrases(verse: str) -> Iterator[str]:
    """What is said in a verse between marks of punctuation, of PHRASE characters; neighbours are
    joined as far as that goes, and what is too short or too long is left out."""
    joined = ""
    for part in [*re.split(r"[.,;:!?()]", verse), ""]:
        part = plain(part, "a verse") if re.search("[a-z]", part.lower()) else ""
        if part and len(joined) + 1 + len(part) <= PHRASE[1]:
            joined = f"{joined} {part}".strip()
            continue
        if PHRASE[0] <= len(joined) <= PHRASE[1]:
            yield joined
        joined = part


def _shuffled(texts: list[str]) -> list[str]:
    places = order.permute(np.arange(len(texts)), len(texts), SHUFFLE_SEED, 0)
    return [texts[place] for place in places]


def _spoken(voice: str, texts: list[str], most: int, how: Sound) -> Speech:
    """The first `most` (0: all), synthesised in whole blocks, which the cache keeps."""
    texts, n = tuple(texts), min(most or len(texts), len(texts))
    blocks = [_block(voice, texts[i : i + BLOCK], how) for i in range(0, n, BLOCK)]
    frames = np.concatenate([block["frames"] for block in blocks])[:n]
    features = np.concatenate([block["features"] for block in blocks])[: frames.sum()]
    sha256 = hashlib.sha256(f"{n} {[str(block['digest']) for block in blocks]}".encode())
    return Speech(list(texts[:n]), frames, features, sha256.hexdigest())


def _block(voice: str, texts: tuple[str, ...], how: Sound) -> dict[str, np.ndarray]:
    pin = wheel.PINS["espeakng"].sha256
    identity = json.dumps([FORMAT, sound.VERSION, pin, voice, texts, how])
    name = f"speech-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"

    def make() -> dict[str, np.ndarray]:
        spoken, rate = espeak.speak(list(texts), voice)
        found = [Recording(text, one.samples, TRAIN, rate) for text, one in zip(texts, spoken)]
        heard = _joined(found, [_heard(one, how) for one in found], how)._asdict()
        return {name: heard[name] for name in Speech._fields[1:]}

    return cache.arrays(name, "speech.npz", make)


class Recording(NamedTuple):
    """A recording that somebody made."""

    text: str
    samples: np.ndarray  # int16
    side: int  # of data.sources.split, by its name
    rate: int  # Hz


def _prompts() -> tuple[list[Recording], str]:
    """Prompts of a telephone exchange, spoken by Allison Smith.

    What is no speech stands in [brackets]; digits are spoken one by one, and texts that have longer
    numbers, or signs, do not say how they are spoken.
    """
    packed = wheel.read("prompts_texts", PROMPT_TEXTS)
    lines = gzip.decompress(packed).decode().splitlines()
    texts = dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith(";"))
    found, left_out = [], 0
    for name, content in wheel.members("prompts", PROMPTS):
        text = re.sub(r"\[.*?\]", " ", texts[name.removesuffix(".wav")])
        text = re.sub(r"(?<!\d)\d(?!\d)", lambda digit: WORDS[int(digit[0])], text)
        try:
            samples, rate = sound.read_wav(io.BytesIO(content), name)
            found.append(Recording(plain(text, name), samples, UNNAMED, rate))
        except ValueError:
            left_out += 1
    return found, f"; {left_out} whose text does not say what is spoken are left out"


def _of_folder(folder: Path) -> tuple[list[Recording], str]:
    """WAV files with a text beside each: a.wav and a.txt."""
    if not folder.is_dir():
        raise FileNotFoundError(f"data.source: folder:{folder}; there is no such folder")
    found = []
    for path in files.walk(folder):
        if path.suffix.lower() == ".wav":
            beside = path.with_suffix(".txt")
            if not beside.is_file():
                raise FileNotFoundError(f"data.source: {path}; there is no {beside.name} beside it")
            text = plain(files.read_text(beside).decode(), beside)
            side = split.named_side(path.relative_to(folder))
            samples, rate = sound.read_wav(path, f"data.source: {path}")
            found.append(Recording(text, samples, side, rate))
    if not found:
        raise ValueError(f"data.source: folder:{folder} has no .wav files; allowed: some")
    return found, ""


def recordings(source: str) -> tuple[list[Recording], str]:
    """What somebody recorded, in an order that is a hash of the texts; and a note.

    Args:
      source: "prompts" or "folder:PATH".
    """
    kind, _, rest = source.partition(":")
    found, note = _prompts() if kind == "prompts" else _of_folder(files.user_path(rest))
    # Stable: of a text in the order of the source.
    return sorted(found, key=lambda one: split.draw(one.text)), note


# Of a plan's runs each may be on another number of recordings: they are read once a process.
@functools.lru_cache(maxsize=1)
def _recorded(source: str, how: Sound) -> tuple[list[Recording], list[np.ndarray], str]:
    """Recordings with their features."""
    found, note = recordings(source)
    return found, [_heard(one, how) for one in found], note


def _heard(recording: Recording, how: Sound) -> np.ndarray:
    return sound.log_mel(recording.samples, recording.rate, *how).astype(np.float16)


def _joined(found: list[Recording], heard: list[np.ndarray], how: Sound) -> Speech:
    frames = np.array([len(x) for x in heard], np.int32)
    features = np.concatenate([np.zeros((0, how.mels), np.float16), *heard])
    return Speech([one.text for one in found], frames, features, digest(found))


def digest(found: list[Recording]) -> str:
    """sha256 of texts and samples."""
    sha256 = hashlib.sha256()
    for one in found:
        sha256.update(f"{one.text} {one.rate} {len(one.samples)}".encode())
        sha256.update(one.samples.astype("<i2").tobytes())
    return sha256.hexdigest()


def sides(
    found: list[Recording], side: str, train: int, held_out: int
) -> tuple[list[np.ndarray], str]:
    """The places of recordings to train on and to evaluate on, see `find`; and the rule."""
    of_each, rule = _sides(found)
    wanted = {TRAIN: train, SIDES[side]: held_out}
    return [np.flatnonzero(of_each == s)[: most or None] for s, most in wanted.items()], rule


def _sides(found: list[Recording]) -> tuple[np.ndarray, str]:
    """The side of each recording, NOBODY for what is on none, and the rule.

    Where no name gives one, a hash of the text: what has a text that is held out, or a word that is
    held out alone, is not trained on.
    """
    named = np.array([one.side for one in found])
    if (named != UNNAMED).any():
        return np.where(named == UNNAMED, TRAIN, named), "held out by name"
    shares = [split.draw(one.text) / 2**64 for one in found]
    sides = np.digitize(shares, [SHARE, 2 * SHARE]).choose([TEST, VALIDATION, TRAIN])
    alone = {one.text for one, side in zip(found, sides) if side != TRAIN and " " not in one.text}
    leaks = [not alone.isdisjoint(one.text.split()) for one in found] & (sides == TRAIN)
    out = "of which a word is held out alone are left out"
    return np.where(leaks, NOBODY, sides), f"held out by a hash of the text; {leaks.sum()} {out}"
