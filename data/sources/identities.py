"""Images by whose they are: emoji in two drawing styles, folders of a person's own, TFDS.

What is wrong with a source is one line: an OSError where it is not there, else a ValueError.
"""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.sources import catalogue, files, pictures, wheel

STYLES = ("google", "twitter")
MOST_IMAGES = 1_000_000
ALLOWED = "allowed: emoji, folder:PATH, tfds:NAME[/CONFIG][:LABEL_KEY]"
# What tells emoji of one group apart: skin tones, genders, the way that somebody looks, joiners.
APART = {*(f"1F3F{tone}" for tone in "BCDEF"), "FE0F", "200D", "2640", "2642", "27A1"}
PERSON, PEOPLE = "1F9D1", {"1F468", "1F469", "1F9D1"}
CHILDREN = {"1F466", "1F467", "1F9D2"}


class Identities(NamedTuple):
    """What a source holds, in its order. Each identity has two images or more."""

    images: np.ndarray  # uint8 [n, side, side, 3]; those of an identity one after the other
    first: np.ndarray  # int64 [identities + 1]: where the images of each begin, and the end
    groups: tuple[str, ...]  # of each; those that look nearly alike are of one group
    left_out: int  # identities with fewer than two different images, or one of an earlier one


def check(source: str) -> None:
    """Raises ValueError where a source is none."""
    if source != "emoji" and not re.match("(folder|tfds):.", source):
        raise ValueError(f"data.source: {source!r}; {ALLOWED}")


def find(source: str, side: int) -> Identities:
    """Reads a source of `data.identities.Config`, its images made `side` pixels wide and high.

    A folder has one of its own for every identity, with two different images or more.
    """
    check(source)
    kind, _, rest = source.partition(":")
    if kind == "emoji":
        found = _emoji(side)
    elif kind == "folder":
        found = _of_folder(files.user_path(rest), side)
    else:
        found = _of_catalogue(rest, side)
    kept, groups, seen, left_out = [], [], set(), 0
    for group, images in found:
        own = {image.tobytes(): image for image in images}
        if len(own) < 2 or own.keys() & seen:
            left_out += 1
            continue
        seen |= own.keys()
        kept.append(np.stack([*own.values()]))
        groups.append(group)
    if not kept:
        none = "no identity with two different images"
        raise ValueError(f"data.source: {source} has {none}; allowed: two or more of each")
    first = np.cumsum([0, *map(len, kept)])
    return Identities(np.concatenate(kept), first, tuple(groups), left_out)


def group(unified: str) -> str:
    """The group of an emoji by its code points, such as 1F468-200D-1F692: a fireman's, a
    firewoman's and a firefighter's are one, and so are all families."""
    points = [PERSON if p in PEOPLE else p for p in unified.upper().split("-") if p not in APART]
    if (len(points) > 1 and CHILDREN & set(points)) or points in (["1F46A"], [PERSON] * 2):
        return "family"
    return "-".join(points) or unified


def _emoji(side: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each emoji without a skin tone, as every style draws it."""
    drawn = [dict(wheel.members(f"emoji_{style}", f"package/img/{style}/64")) for style in STYLES]
    for entry in json.loads(wheel.read("emoji_google", "package/emoji.json")):
        name = entry["image"]
        if all(name in style for style in drawn):
            images = [pictures.scaled(io.BytesIO(style[name]), name, side) for style in drawn]
            yield group(entry["unified"]), np.stack(images)


def _of_folder(folder: Path, side: int) -> Iterator[tuple[str, np.ndarray]]:
    if not folder.is_dir():
        raise FileNotFoundError(f"data.source: folder:{folder}; there is no such folder")
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        paths = [path for path in files.walk(place) if path.suffix.lower() in pictures.SUFFIXES]
        if paths:
            yield place.name, np.stack([pictures.scaled(path, path, side) for path in paths])


def _of_catalogue(rest: str, side: int) -> Iterator[tuple[str, np.ndarray]]:
    """All splits of a data set, such as lfw: whose an image is has the kind Text or ClassLabel."""
    name, _, label = rest.partition(":")
    builder = catalogue.builder(name)
    features = builder.info.features
    image = catalogue.key(name, "", features, "Image", "image")
    kinds = {type(feature).__name__ for feature in features.values()}
    label = catalogue.key(
        name, label, features, "Text" if "Text" in kinds else "ClassLabel", "label"
    )
    owned: dict[str, list[np.ndarray]] = {}
    with catalogue.reading(name):
        builder.download_and_prepare()
        for split in builder.info.splits:
            for whose, pixels in _rows(builder, split, image, label):
                owned.setdefault(whose, []).append(pictures.rescaled(pixels, side))
    for whose in sorted(owned):
        yield whose, np.stack(owned[whose])


def _rows(builder: Any, split: str, image: str, label: str) -> Iterator[tuple[str, np.ndarray]]:
    source = builder.as_data_source(split=split)
    if len(source) > MOST_IMAGES:
        raise ValueError(f"data.source: {len(source)} images; allowed: {MOST_IMAGES}")
    for row in source:
        whose = row[label]
        yield whose.decode() if isinstance(whose, bytes) else str(whose), np.asarray(row[image])
