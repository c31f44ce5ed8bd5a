import hashlib
import io
import json

import numpy as np
import pytest

import data
from data.sources import identities, pictures, wheel
from tests.data.sources.test_labelled import pixels_of, prepared  # noqa: F401

image = pytest.importorskip("PIL.Image")
OPTIONS = {
    "evaluation": "test",
    "eval_identities": 0,
    "unique": 0,
    "trial": 4,
    "side": 6,
    "flip": False,
    "crop": 0,
    "cutout": 0,
    "tint": 0.0,
}
AUGMENTED = {"flip": True, "crop": 2, "cutout": 2, "tint": 0.3}


def draw(place, pixels):
    image.fromarray(pixels).save(place, format="PNG")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """60 identities with two to four pictures of 8x8 each, the first of which has one alone."""
    folder, random = tmp_path_factory.mktemp("people"), np.random.default_rng(0)
    for number in range(60):
        place = folder / f"{number:02}"
        place.mkdir()
        for i in range(2 + number % 3 if number else 1):
            draw(place / f"{i}.png", random.integers(0, 256, (8, 8, 3), np.uint8))
    (folder / "07" / "again.png").write_bytes((folder / "07" / "0.png").read_bytes())
    return f"folder:{folder}"


def opened(source, **changes):
    return data.open_dataset("identities", {"source": source} | OPTIONS | changes)


def hashes(images):
    return [hashlib.sha256(x.tobytes()).hexdigest() for x in images.reshape(-1, *images.shape[-3:])]


def test_a_trial_has_no_identity_twice_and_two_images_of_each(people):
    dataset = opened(people)
    assert (dataset.unit, dataset.units_per_row) == ("pair", 4)
    assert dataset.facts["train_identities"] // 4 == dataset.train_rows
    assert "1 that look like others" in dataset.note
    batch = dataset.train_batch(3, 0, 3 * dataset.train_rows)
    assert batch["image"].shape == (3 * dataset.train_rows, 4, 2, 6, 6, 3)
    whose = {}
    for images, labels in zip(batch["image"], batch["label"]):
        assert len(set(labels.tolist())) == 4
        for pair, label in zip(images, labels):
            one, other = hashes(pair)
            assert one != other
            whose.setdefault(label, set()).update((one, other))
    assert sum(map(len, whose.values())) == len(set.union(*whose.values()))
    # Of an epoch each is in one trial at most.
    epoch = dataset.train_batch(3, 0, dataset.train_rows)["label"].ravel().tolist()
    assert len(set(epoch)) == len(epoch)


def test_nobody_is_on_both_sides(people):
    seen = {}
    for evaluation in ("validation", "test"):
        dataset = opened(people, evaluation=evaluation)
        batch = dataset.train_batch(0, 0, 5 * dataset.train_rows)
        held_out = dataset.eval_batch(0, dataset.eval_rows)
        assert (held_out["label"] == -1).all()
        first, second = (
            np.rint(x["image"] * dataset._spread + dataset._mean) for x in (batch, held_out)
        )
        seen[evaluation] = {*hashes(first)}, {*hashes(second)}
        assert seen[evaluation][0].isdisjoint(seen[evaluation][1])
    # What the final evaluation is on is never looked at before.
    assert seen["test"][1].isdisjoint(seen["validation"][0] | seen["validation"][1])


def test_a_batch_is_a_function_of_seed_and_step_on_any_number_of_hosts(people):
    dataset = opened(people, **AUGMENTED)
    batch = dataset.train_batch(3, 11, 8)
    parts = [opened(people, **AUGMENTED).train_batch(3, 11, 8, (k, 4)) for k in range(4)]
    for name, rows in batch.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), rows)
    # Both images of a pair are mirrored, or none.
    flipped, plain = opened(people, flip=True).train_batch(3, 11, 8), opened(people)
    expected = plain.train_batch(3, 11, 8)
    np.testing.assert_array_equal(flipped["label"], expected["label"])
    assert flipped["image"].shape == expected["image"].shape
    assert dataset.digest != plain.digest


def test_a_larger_cap_keeps_what_a_smaller_one_does(people):
    sizes = [opened(people, unique=n) for n in (8, 20)]
    few, many = ({*hashes(d._images_of(d._train))} for d in sizes)
    assert few < many
    np.testing.assert_array_equal(sizes[0]._eval, sizes[1]._eval)


def test_what_is_known_unopened_is_what_is_there(people):
    dataset = opened(people)
    module = data.load("identities")
    config = module.Config(source=people, **OPTIONS)
    assert data.facts("identities", config).items() <= dataset.facts.items()
    row, spec = dataset.train_batch(0, 0, 1), data.spec("identities", config)
    assert {k: (x.shape, x.dtype) for k, x in spec.items()} == {
        k: (x.shape, x.dtype) for k, x in row.items()
    }


def test_variants_of_an_emoji_are_of_one_group():
    firefighters = ("1F9D1-200D-1F692", "1F468-200D-1F692", "1f469-1f3fd-200d-1f692")
    assert len({*map(identities.group, firefighters)}) == 1
    runners = ("1F3C3", "1F3C3-200D-2640-FE0F", "1F3C3-200D-2642-FE0F-200D-27A1-FE0F")
    assert len({*map(identities.group, runners)}) == 1
    families = ("1F46A", "1F468-200D-1F469-200D-1F467", "1F9D1-200D-1F9D1-200D-1F9D2")
    assert {*map(identities.group, families)} == {"family"}
    assert identities.group("1F1EB-1F1F7") != identities.group("1F1EB-1F1EE")


def test_emoji_are_drawn_in_every_style(monkeypatch):
    random, drawn = np.random.default_rng(0), {style: {} for style in identities.STYLES}
    for number in range(40):
        for images in drawn.values():
            file = io.BytesIO()
            draw(file, random.integers(0, 256, (64, 64, 4), np.uint8))
            images[f"{number}.png"] = file.getvalue()
    drawn["twitter"]["3.png"] = drawn["twitter"]["2.png"]  # two flags that are alike
    entries = [{"image": f"{n}.png", "unified": f"1F4{n:02}"} for n in range(40)]
    monkeypatch.setattr(wheel, "members", lambda name, folder: drawn[name[6:]].items())
    monkeypatch.setattr(wheel, "read", lambda name, inside: json.dumps(entries).encode())
    found = identities.find("emoji", 32)
    assert found.images.shape == (78, 32, 32, 3)
    assert found.left_out == 1
    np.testing.assert_array_equal(found.first, np.arange(40) * 2)


def test_classes_of_the_catalogue_are_identities(prepared):  # noqa: F811
    found = identities.find("tfds:toy_shapes", 6)
    assert found.groups == ("0", "1")
    expected = {
        pixels_of(s, n).tobytes() for s, k in (("train", 40), ("test", 8)) for n in range(k)
    }
    assert {image.tobytes() for image in found.images} == expected
    assert identities.find("tfds:toy_shapes:coarse", 3).images.shape == (48, 3, 3, 3)


def test_what_is_transparent_is_white_and_pixels_are_means(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255
    pixels[0] = [100, 50, 0, 255]
    draw(tmp_path / "a.png", pixels)
    found = pictures.scaled(tmp_path / "a.png", "a.png", 2)
    np.testing.assert_array_equal(found[:, 0], [[50, 25, 0], [255, 255, 255]])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "emojis"}, r"data\.source: 'emojis'; allowed: emoji, folder:PATH"),
        ({"source": "folder:/nowhere"}, "there is no such folder"),
        ({"evaluation": "train"}, r"data\.evaluation: 'train'; allowed: validation, test"),
        ({"trial": 1}, r"data\.trial: 1; allowed: at least 2"),
        ({"crop": 6}, r"data\.crop: 6; allowed: 0 to 5"),
        ({"unique": 3}, r"data\.unique: 3; allowed: 0 \(all\) or at least a trial of 4"),
        ({"unique": 50}, r"data\.unique: 50; allowed: 0 \(all\) to "),
        ({"trial": 40}, "a trial of 40 of both, or a smaller data.trial"),
    ],
)
def test_what_cannot_be_is_one_line(people, changes, said):
    with pytest.raises((ValueError, OSError), match=said) as error:
        opened(**{"source": people} | changes)
    assert "\n" not in str(error.value)
