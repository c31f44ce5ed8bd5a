"""Images with boxes in them: a file of annotations as COCO has them, and the images beside it.

Lin et al. 2014, "Microsoft COCO: common objects in context"; of its format: `images` (id,
file_name), `annotations` (image_id, category_id, bbox as left, top, width and height in pixels,
iscrowd) and `categories` (id, name). What is wrong is one line that says where.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.sources import files, pictures

SLACK = 1e-3  # of a pixel: what rounding of a box's numbers may carry it over an image's edge
MOST_IMAGES = 1_000_000


class Annotated(NamedTuple):
    """What a file describes."""

    images: np.ndarray  # uint8 [n, side, side, 3]
    boxes: list[np.ndarray]  # of each float64 [k, 4]: left, top, right, bottom, scaled as it is
    labels: list[np.ndarray]  # of each int64 [k]
    class_names: tuple[str, ...]  # in the order of their ids
    left_out: int  # images with a crowd, of which nobody says what is where


def find(path: Path, side: int, most: int) -> Annotated:
    """Reads a file and its images, each made `side` pixels wide and high.

    Args:
      path: of the annotations; names of images begin where it lies.
      side: pixels.
      most: boxes that an image may have.

    Raises:
      ValueError, OSError: in one line, what is wrong or not there.
    """
    if not path.is_file():
        raise FileNotFoundError(f"data.source: coco:{path}; there is no such file")
    try:
        found = json.loads(files.read_text(path))
    except (ValueError, RecursionError) as error:
        if str(error).startswith("data."):
            raise
        raise ValueError(f"data.source: {path} is not JSON: {error}") from None
    names = {one["id"]: one["name"] for one in _rows(path, found, "categories", id=int, name=str)}
    images = {
        one["id"]: one["file_name"] for one in _rows(path, found, "images", id=int, file_name=str)
    }
    if not names or not images:
        none = "categories" if not names else "images"
        raise ValueError(f"data.source: {path} has no {none}; allowed: one or more")
    if len(images) > MOST_IMAGES:
        raise ValueError(f"data.source: {path} has {len(images)} images; allowed: {MOST_IMAGES}")
    held, crowded = _boxes(path, found, images, names)
    return _scaled(
        path, {i: held[i] for i in images if i not in crowded}, images, names, side, most
    )


def _scaled(
    path: Path,
    held: Mapping[int, list[tuple[list[float], int]]],
    images: Mapping[int, str],
    names: Mapping[int, str],
    side: int,
    most: int,
) -> Annotated:
    numbers = {key: place for place, key in enumerate(sorted(names))}
    pixels, boxes, labels = [], [], []
    for key, own in held.items():
        place = path.parent / images[key]
        if len(own) > most:
            many = f"{images[key]!r} has {len(own)} boxes; data.objects allows {most}"
            raise ValueError(f"data.source: {path}: {many}")
        pixels.append(pictures.scaled(place, place, side))
        width, height = pictures.size(place)
        corners = np.array([box for box, _ in own], np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        outside = (corners[:, :2] < -SLACK).any(axis=1)
        outside |= (corners[:, 2:] > np.array([width, height]) + SLACK).any(axis=1)
        if outside.any():
            box = own[int(np.argmax(outside))][0]
            said = f"{images[key]!r}: box {box} lies outside of {width}x{height} pixels"
            raise ValueError(f"data.source: {path}: {said}")
        scale = np.tile([side / width, side / height], 2)
        boxes.append(np.clip(corners * scale, 0, side))
        labels.append(np.array([numbers[category] for _, category in own], np.int64))
    if not pixels:
        raise ValueError(f"data.source: {path}: all images have crowds; allowed: some without")
    ordered = tuple(names[key] for key in sorted(names))
    return Annotated(np.stack(pixels), boxes, labels, ordered, len(images) - len(held))


def _rows(path: Path, found: Any, name: str, /, **fields: type) -> Iterable[dict[str, Any]]:
    """The entries of a list, each with the fields that it must have, and an `id` of its own."""
    rows = found.get(name) if isinstance(found, dict) else None
    if not isinstance(rows, list):
        raise ValueError(
            f"data.source: {path} has no list {name!r}; allowed: a file as COCO has it"
        )
    ids = set()
    for place, row in enumerate(rows):
        for field, kind in fields.items():
            value = row.get(field) if isinstance(row, dict) else None
            if type(value) is not kind:
                said = f"{name}[{place}] has {field} {value!r}; allowed: {kind.__name__}"
                raise ValueError(f"data.source: {path}: {said}")
        if "id" in fields and row["id"] in ids:
            twice = f"{name}[{place}] has id {row['id']}, which another one has"
            raise ValueError(f"data.source: {path}: {twice}; allowed: one of its own")
        ids.add(row.get("id"))
    return rows


def _boxes(
    path: Path, found: Any, images: Mapping[int, str], names: Mapping[int, str]
) -> tuple[dict[int, list[tuple[list[float], int]]], set[int]]:
    """Of each image its boxes with their categories; and which have crowds."""
    held: dict[int, list[tuple[list[float], int]]] = {key: [] for key in images}
    crowded = set()
    rows = _rows(path, found, "annotations", image_id=int, category_id=int, bbox=list)
    for place, row in enumerate(rows):
        where = f"data.source: {path}: annotations[{place}]"
        for field, there in (("image_id", images), ("category_id", names)):
            if row[field] not in there:
                few = ", ".join(map(str, sorted(there)[:10])) + ", ..." * (len(there) > 10)
                raise ValueError(f"{where} has {field} {row[field]}; allowed: {few}")
        box = row["bbox"]
        numbers = all(type(x) in (int, float) for x in box)
        if len(box) != 4 or not numbers or not np.isfinite(box).all() or min(box[2:]) <= 0:
            sides = "left, top, width and height in pixels, the latter two above 0"
            raise ValueError(f"{where} has bbox {box}; allowed: {sides}")
        if row.get("iscrowd", 0):
            crowded.add(row["image_id"])
        held[row["image_id"]].append((box, row["category_id"]))
    return held, crowded
