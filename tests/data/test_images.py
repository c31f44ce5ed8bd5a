import gzip
import hashlib
import struct

import numpy as np
import pytest

import data
from data import images, order
from data.sources import labelled

OPTIONS = {
    "source": "digits",
    "evaluation": "validation",
    "eval_rows": 0,
    "unique": 0,
    "flip": False,
    "crop": 0,
    "cutout": 0,
    "mixup": 0.0,
}
AUGMENTED = {"flip": True, "crop": 2, "cutout": 3, "mixup": 0.4}


def opened(**changes):
    return data.open_dataset("images", OPTIONS | changes)


def hashes(array):
    return [hashlib.sha256(row.tobytes()).hexdigest() for row in array]


def whole(dataset):
    """All images to train on, and their labels, in the order of a seed."""
    batch = dataset.train_batch(5, 0, dataset.train_rows)
    return batch["image"], batch["label"]


def write_idx(path, array):
    head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(head + array.tobytes())


@pytest.fixture
def folder(tmp_path):
    """An idx folder of 300 + 60 random 6x5 images, which a test may write again."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (360, 6, 5), np.uint8)
    labels = np.arange(360, dtype=np.uint8) % 3

    def write(train=pixels[:300], train_labels=labels[:300], test=pixels[300:]):
        write_idx(tmp_path / "train-images-idx3-ubyte", train)
        write_idx(tmp_path / "train-labels-idx1-ubyte.gz", train_labels)
        write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", test)
        write_idx(tmp_path / "t10k-labels-idx1-ubyte", labels[300 : 300 + len(test)])
        return f"folder:{tmp_path}"

    write.pixels, write.labels = pixels, labels
    return write


def test_an_epoch_has_every_image_once_standardised():
    dataset = opened()
    assert (dataset.unit, dataset.units_per_row) == ("image", 1)
    assert dataset.train_rows + dataset.eval_rows == 1797
    assert 0.08 < dataset.eval_rows / 1797 < 0.12
    x, y = whole(dataset)
    assert (x.dtype, y.dtype, x.shape[1:]) == (np.float32, np.int32, (8, 8, 1))
    assert x.mean() == pytest.approx(0, abs=1e-5)
    assert x.std() == pytest.approx(1, abs=1e-5)
    held_out = dataset.eval_batch(0, dataset.eval_rows)["image"]
    assert len({*hashes(x), *hashes(held_out)}) == 1797


@pytest.mark.parametrize("kind", ["digits", "idx", "csv"])
def test_a_source_is_read_once_for_all_caps_while_it_stays_as_it_is(
    folder, tmp_path, monkeypatch, kind
):
    source, place = folder() if kind == "idx" else kind, tmp_path / "train-images-idx3-ubyte"
    if kind == "csv":
        image = pytest.importorskip("PIL.Image")
        for number, pixels in enumerate(folder.pixels[:100]):
            image.fromarray(pixels).save(place := tmp_path / f"{number}.png")
        lines = "".join(f"{n}.png,{n % 2}\n" for n in range(100))
        (tmp_path / "pictures.csv").write_text("path,label\n" + lines)
        source = f"csv:{tmp_path}/pictures.csv"
    images._held.cache_clear()
    read, find = [], labelled.find
    monkeypatch.setattr(labelled, "find", lambda source: read.append(source) or find(source))
    # Files that were written just now are read each time.
    assert [opened(source=source, unique=n).train_rows for n in (50, 60)] == [50, 60]
    assert len(read) == (1 if kind == "digits" else 2)
    monkeypatch.setattr(labelled, "SETTLED", 0)
    read.clear()
    first = [opened(source=source, unique=n).digest for n in (50, 60, 50)]
    assert len(read) == (0 if kind == "digits" else 1)
    assert first[0] == first[2] != first[1]
    if kind != "digits":
        place.write_bytes(place.read_bytes())
        opened(source=source)
        assert len(read) == 2


def test_pixels_keep_their_labels(folder):
    source = folder()
    for evaluation in ("validation", "test"):
        dataset = opened(source=source, evaluation=evaluation)
        x, y = whole(dataset)
        held_out = dataset.eval_batch(0, dataset.eval_rows)
        mean, spread = dataset._mean, dataset._spread
        label_of = {p.tobytes(): l for p, l in zip(folder.pixels, folder.labels)}
        for pixels, labels in ((x, y), (held_out["image"], held_out["label"])):
            restored = np.rint(pixels * spread + mean).astype(np.uint8)
            assert [label_of[row.tobytes()] for row in restored] == labels.tolist()
    assert dataset.eval_rows == 60
    assert dataset.train_rows == 300


def test_a_batch_is_a_function_of_seed_and_step_on_any_number_of_hosts():
    dataset = opened(**AUGMENTED)
    batch = dataset.train_batch(3, 11, 12)
    parts = [opened(**AUGMENTED).train_batch(3, 11, 12, (k, 4)) for k in range(4)]
    for name, rows in batch.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), rows)
    for seed, step in ((4, 11), (3, 12)):
        assert (dataset.train_batch(seed, step, 12)["image"] != batch["image"]).any()


def test_an_image_is_augmented_anew_each_time_and_evaluation_never():
    dataset, plain = opened(unique=12, **AUGMENTED), opened(unique=12)
    epochs = [dataset.train_batch(0, step, 12) for step in range(8)]
    rows = [order.example_indices(0, step, 12, (0, 1), 12) for step in range(8)]
    versions = {h for batch, r in zip(epochs, rows) for h in [hashes(batch["image"][r == 3])[0]]}
    assert len(versions) == 8
    np.testing.assert_array_equal(
        dataset.eval_batch(0, 20)["image"], plain.eval_batch(0, 20)["image"]
    )
    assert dataset.digest != plain.digest


def test_a_row_is_mixed_of_two_images_that_are_trained_on():
    dataset = opened(mixup=1.0, unique=200)
    images, labels = whole(opened(unique=200))
    batch = dataset.train_batch(3, 11, 64)
    share, flat = batch["share"], images.reshape(200, -1)
    own = opened(unique=200).train_batch(3, 11, 64)
    left = (batch["image"] - share[:, None, None, None] * own["image"]).reshape(64, -1)
    for row in np.flatnonzero(share < 0.9):
        apart = np.abs(flat - left[row] / (1 - share[row])).max(axis=1)
        assert apart.min() < 1e-4
        assert labels[apart.argmin()] == batch["other_label"][row]
    np.testing.assert_array_equal(batch["label"], own["label"])
    assert 0.4 < share.mean() < 0.6
    assert (batch["label"] != batch["other_label"]).mean() > 0.7
    evaluated = dataset.eval_batch(0, 9)
    np.testing.assert_array_equal(evaluated["share"], np.ones(9, np.float32))
    np.testing.assert_array_equal(evaluated["other_label"], evaluated["label"])


def test_a_larger_cap_keeps_what_a_smaller_one_does(folder):
    source = folder()

    def kept(evaluation, unique):
        dataset = opened(source=source, evaluation=evaluation, unique=unique)
        restored = whole(dataset)[0] * dataset._spread + dataset._mean
        assert dataset.train_rows == unique
        return set(hashes(np.rint(restored).astype(np.uint8)))

    assert len(kept("validation", 40)) == 40
    assert kept("validation", 40) < kept("validation", 200)
    assert kept("validation", 40) == kept("test", 40)  # tuned on what is then scored


def test_equal_images_are_on_one_side_and_count_once(folder):
    pixels = folder.pixels.copy()
    pixels[10:30] = pixels[0]  # of different labels, too
    pixels[50] = pixels[310]  # a test image
    dataset = opened(source=folder(train=pixels[:300]), evaluation="test")
    assert dataset.train_rows == 300 - 20 - 1
    assert "; 21 that equal others are left out" in dataset.note
    assert dataset.eval_rows == 60
    both = [hashes(whole(dataset)[0]), hashes(dataset.eval_batch(0, 60)["image"])]
    assert len({*both[0], *both[1]}) == 279 + 60


def test_evaluation_is_padded_and_a_capped_one_a_sample():
    dataset = opened(eval_rows=50)
    batches = [dataset.eval_batch(index, 16) for index in range(4)]
    assert np.concatenate([b["weight"] for b in batches]).tolist() == [1] * 50 + [0] * 14
    assert (batches[3]["image"][2:] == 0).all()
    longer = opened(eval_rows=60).eval_batch(0, 60)
    np.testing.assert_array_equal(longer["image"][:16], batches[0]["image"])
    assert len(np.unique(longer["label"])) == 10


def test_what_is_known_unopened_is_what_is_found(folder):
    config = images.Config(**OPTIONS)
    dataset, known = images.open(config), data.facts("images", config)
    assert known.items() <= dataset.facts.items()
    assert (known["classes"], known["shape"], known["class_names"][3]) == (10, (8, 8, 1), "3")
    found, unopened = dataset.eval_batch(0, 1), data.spec("images", config)
    assert {k: (v.shape, v.dtype) for k, v in found.items()} == {
        k: (v.shape, v.dtype) for k, v in unopened.items()
    }
    config = images.Config(**OPTIONS | {"source": folder()})
    unopened = {"unit": "image", "units_per_row": 1, "classes": None}
    assert data.facts("images", config) == unopened
    assert data.spec("images", config) is None
    assert images.open(config).facts["classes"] == 3


def test_the_digest_follows_the_content_and_not_the_place(folder, tmp_path):
    first = opened(source=folder()).digest
    pixels = folder.pixels.copy()
    (moved := tmp_path.parent / f"{tmp_path.name}-moved").mkdir()
    for path in tmp_path.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    assert opened(source=f"folder:{moved}").digest == first
    pixels[7, 0, 0] ^= 1
    digests = {first, opened(source=folder(train=pixels[:300])).digest}
    labels = folder.labels.copy()
    labels[8] = (labels[8] + 1) % 3
    digests.add(opened(source=folder(train_labels=labels[:300])).digest)
    digests |= {opened(source=folder(), **{k: v}).digest for k, v in AUGMENTED.items()}
    digests |= {
        opened(source=folder(), unique=9).digest,
        opened(source=folder(), eval_rows=9).digest,
    }
    assert len(digests) == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"source": "mnist"},
            "data.source: 'mnist'; allowed: fashion_mnist, mnist5k, digits, emoji, folder",
        ),
        ({"evaluation": "train"}, "data.evaluation: 'train'; allowed: validation, test"),
        ({"evaluation": "test"}, "but digits has no published test side; allowed: validation"),
        ({"unique": -1}, "data.unique: -1; allowed: at least 0"),
        ({"unique": 1798}, r"data.unique: 1798; allowed: 0 \(all\) to 1599"),
        ({"eval_rows": -1}, "data.eval_rows: -1; allowed: at least 0"),
        ({"crop": 8}, "data.crop: 8; allowed: 0 to 7 for images of 8x8"),
        ({"cutout": 9}, "data.cutout: 9; allowed: 0 to 8 for images of 8x8"),
    ],
)
def test_a_bad_field_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        opened(**changes)


def test_few_images_are_said_or_refused(folder):
    assert "; 2 of 3 classes have no image to train on" in opened(source=folder(), unique=1).note
    few = folder(train=folder.pixels[:3], train_labels=folder.labels[:3])
    with pytest.raises(ValueError, match="allowed: enough to hold out a tenth"):
        opened(source=few)
    with pytest.raises(ValueError, match=r"data.crop: 5; allowed: 0 to 4 for images of 6x5"):
        opened(source=few, crop=5)
