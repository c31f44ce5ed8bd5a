"""Drawings with captions: emoji in two styles, with and without skin tones; folders of one's own.

What is wrong with a source is one line: an OSError where it is not there, else a ValueError.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.sources import cache, files, pictures, split, wheel
from data.sources.identities import APART, STYLES, group

TONES = {
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}
SKIN = "skin"  # ends the word of a tone
ALLOWED = "allowed: emoji, folder:PATH, images:NAME"
TEST_SHARE = 0.15  # of all groups
VALIDATION_SHARE = 0.15  # of the others
COMPOSITION_SHARE = 0.125  # of what things may have, such as a tone, in each group
VERSION = 3  # of what is kept, a part of the name in the cache
MOST_IMAGES = 200_000


class Drawings(NamedTuple):
    """What a source holds, in its order."""

    images: np.ndarray  # uint8 [n, side, side, C]
    captions: tuple[tuple[str, ...], ...]  # words
    groups: tuple[str, ...]  # of each; those that look nearly alike are of one group
    having: tuple[str, ...]  # what a thing has here and others have too, such as a tone; "" = none
    kinds: tuple[str, ...]  # of things, such as "Food & Drink"; "" = not known
    test: np.ndarray | None = None  # bool [n], where a test side is published


def check(source: str) -> None:
    """Raises ValueError where a source is none."""
    if source != "emoji" and not re.match("folder:.", source):
        raise ValueError(f"data.source: {source!r}; {ALLOWED}")


def find(source: str, side: int) -> Drawings:
    """Reads a source, its images made `side` pixels wide and high.

    emoji: each in every style, without a skin tone and with each. A caption is the style, the tone,
      the words of the name and of the kind of emoji, and keywords of Unicode's CLDR. Two people of
      two tones are left out.
    folder: of images; a caption is the words of a file's name, but for numbers.
    """
    check(source)
    if source != "emoji":
        return _of_folder(files.user_path(source.partition(":")[2]), side)
    pins = [wheel.PINS[f"emoji_{style}"].sha256 for style in STYLES]
    pins.append(wheel.PINS["cldr_annotations"].sha256)
    key = hashlib.sha256(f"{VERSION} {side} {pins}".encode()).hexdigest()
    return cache.entry(f"drawings-{key[:32]}", _load, lambda folder: _save(folder, _emoji(side)))


def words(text: str) -> tuple[str, ...]:
    """The words of a text in lower case: letters and digits, with what joins them inside."""
    return tuple(re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower()))


def sides(found: Drawings, evaluation: str) -> tuple[np.ndarray, np.ndarray]:
    """Which drawings to train on, and which to evaluate on, by hashes of their groups or, for the
    test side, as it is published.

    evaluation: "test", "validation", or "compositions": of things that are trained on, those that
      have something (a tone) with which they never are, though others are. Training without the
      test side is the same for "test" and "compositions"; "validation" trains on less.
    """
    draws = np.array([split.draw(own) for own in found.groups], np.uint64)
    ends = TEST_SHARE, TEST_SHARE + (1 - TEST_SHARE) * VALIDATION_SHARE
    first, second = (draws < np.uint64(end * 2**64) for end in ends)
    test = first if found.test is None else found.test
    validation = second & ~first & ~test
    pairs = [f"{own} has {what}" if what else "" for own, what in zip(found.groups, found.having)]
    most = np.uint64(COMPOSITION_SHARE * 2**64)
    unseen = np.array([bool(pair) and split.draw(pair) < most for pair in pairs])
    train = ~test & ~unseen & (~validation if evaluation == "validation" else True)
    chosen = {"test": test, "validation": validation, "compositions": unseen & ~test}[evaluation]
    return np.flatnonzero(train), np.flatnonzero(chosen)


def _emoji(side: int) -> Iterator[tuple[np.ndarray, tuple[str, ...], str, str, str]]:
    entries = json.loads(wheel.read("emoji_google", "package/emoji.json"))
    keywords = _keywords()
    for style in STYLES:
        drawn = dict(wheel.members(f"emoji_{style}", f"package/img/{style}/64"))
        for entry in entries:
            toned = entry.get("skin_variations", {})
            variants = {"": entry} | {tone: toned[tone] for tone in TONES if tone in toned}
            for tone, variant in variants.items():
                if (name := variant["image"]) not in drawn:
                    continue
                image = pictures.scaled(io.BytesIO(drawn[name]), name, side)
                having = f"{TONES[tone]}-{SKIN}" if tone else ""
                kind = words(f"{entry['subcategory']} {entry['category']}")
                told = (style, *filter(None, [having]), *words(entry["name"]), *kind)
                more = keywords.get(_plain(entry["unified"]), ())
                caption = tuple(dict.fromkeys((*told, *more)))
                yield image, caption, group(entry["unified"]), having, entry["category"]


def _keywords() -> dict[str, tuple[str, ...]]:
    """The short names and keywords in English of CLDR, by code points without what sets apart."""
    said = json.loads(wheel.read("cldr_annotations", "package/annotations/en/annotations.json"))
    found: dict[str, tuple[str, ...]] = {}
    for emoji, of in said["annotations"]["annotations"].items():
        phrases = [*of.get("tts", ()), *of.get("default", ())]
        told = tuple(word for phrase in phrases for word in words(phrase))
        found.setdefault(_plain("-".join(f"{ord(c):04X}" for c in emoji)), told)
    return found


def _plain(unified: str) -> str:
    return "-".join(p for p in unified.upper().split("-") if p not in APART) or unified


def _of_folder(folder: Path, side: int) -> Drawings:
    if not folder.is_dir():
        raise FileNotFoundError(f"data.source: folder:{folder}; there is no such folder")
    paths = [path for path in files.walk(folder) if path.suffix.lower() in pictures.SUFFIXES]
    rows = []
    for path in paths[:MOST_IMAGES]:
        caption = tuple(word for word in words(path.stem.replace("_", " ")) if not word.isdigit())
        if caption:
            rows.append((pictures.scaled(path, path, side), caption, " ".join(caption), "", ""))
    if not rows:
        raise ValueError(f"data.source: folder:{folder} has no image whose name has words")
    return _drawings(rows)


def _drawings(rows: Any) -> Drawings:
    images, *told = zip(*rows)
    return Drawings(np.stack(images), *told)


def _save(folder: Path, rows: Any) -> None:
    found = _drawings(rows)
    np.save(folder / "images.npy", found.images)
    told = json.dumps([found.captions, found.groups, found.having, found.kinds])
    (folder / "captions.json").write_text(told, encoding="utf-8")


def _load(folder: Path) -> Drawings | None:
    try:
        images = np.load(folder / "images.npy", allow_pickle=False)
        captions, *told = json.loads((folder / "captions.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    whole = len(told) == 3 and {len(captions), *map(len, told)} == {len(images)}
    return Drawings(images, tuple(map(tuple, captions)), *map(tuple, told)) if whole else None
