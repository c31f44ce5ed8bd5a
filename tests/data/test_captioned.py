import json

import numpy as np
import pytest

import data
from data import captioned
from data import drawings as pictures
from data.sources import drawings, labelled, wheel
from data.sources.drawings import Drawings
from tests.data.sources.test_codes import weights

image = pytest.importorskip("PIL.Image")
COLOURS = ("red", "green", "blue", "grey", "pink")
THINGS = (
    "heart",
    "cat",
    "dog",
    "house",
    "moon",
    "sun",
    "ship",
    "tree",
    "cup",
    "key",
    "fish",
    "bell",
)
OPTIONS = {
    "evaluation": "test",
    "eval_rows": 0,
    "unique": 0,
    "moved": 1,
    "text": 3,
    "words": 40,
    "dropped": 0.0,
    "bare": 0.0,
    "others": 0,
}
PLAIN = {"evaluation": "test", "eval_rows": 0, "unique": 0, "side": 8, "crop": 0}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """60 pictures of 9x9 whose names say what they are, and the tokenizer of codes of 8x8."""
    folder, random = tmp_path_factory.mktemp("drawn"), np.random.default_rng(0)
    for colour in COLOURS:
        for thing in THINGS:
            pixels = random.integers(0, 256, (9, 9, 3), np.uint8)
            image.fromarray(pixels).save(folder / f"{colour}_{thing}_1.png")
    path = tmp_path_factory.mktemp("weights") / "own.npz"
    sha256, *_ = weights(path)
    return {"source": f"folder:{folder}", "tokenizer": str(path), "sha256": sha256}


def opened(drawn, **changes):
    return data.open_dataset("captioned", drawn | OPTIONS | changes)


def said(dataset, text):
    """The words of tokens."""
    known = dataset.facts["words"]
    return tuple(known[token - 61] for token in text if token > 60)


def test_a_row_is_a_caption_and_the_codes_of_its_picture(drawn, shared_cache):
    dataset = opened(drawn)
    assert (dataset.unit, dataset.units_per_row) == ("token", 16)
    wanted = {"text": 3, "places": 16, "codes": 60, "vocab_size": 101}
    assert {name: dataset.facts[name] for name in wanted} == wanted
    found = drawings.find(drawn["source"], 8)
    train, held_out = drawings.sides(found, "test")
    pairs = {}
    for step in range(4):
        batch = dataset.train_batch(1, step, dataset.train_rows)
        np.testing.assert_array_equal(batch["tokens"][:, 3:], batch["targets"][:, :-1])
        for row, targets in zip(batch["tokens"], batch["targets"]):
            pairs.setdefault(said(dataset, row[:3]), set()).add(targets.tobytes())
    told = [
        tuple(word for word in caption if word in dataset.facts["words"])
        for caption in found.captions
    ]
    assert set(pairs) == {told[i] for i in train}
    assert 2 < np.mean([len(ways) for ways in pairs.values()]) <= 4
    # Evaluated as they are; what the codes draw is the tokenizer's business.
    whole = dataset.eval_batch(0, dataset.eval_rows)
    captions = [said(dataset, row[:3]) for row in whole["tokens"]]
    assert sorted(captions) == sorted(told[i] for i in held_out)
    assert dataset.facts["draw"](whole["targets"]).shape == (dataset.eval_rows, 8, 8, 3)
    # A word has one number, whatever is evaluated on.
    assert opened(drawn, evaluation="validation").facts["words"] == dataset.facts["words"]


def test_words_are_left_out_and_captions_too(drawn, shared_cache):
    dataset = opened(drawn, dropped=0.5, bare=0.25)
    text = np.concatenate([dataset.train_batch(0, i, 40)["tokens"][:, :3] for i in range(20)])
    lengths = (text > 60).sum(axis=1)
    # What is left stands at the front; one of two words in half of the rows that have a caption.
    assert (np.sort(text == 60, axis=1) == (text == 60)).all()
    assert np.bincount(lengths) / len(text) == pytest.approx([0.4375, 0.375, 0.1875], abs=0.05)


def test_captions_of_others_are_those_of_other_rows(drawn, shared_cache):
    dataset = opened(drawn, others=3)
    whole = dataset.eval_batch(0, dataset.eval_rows + 2)
    n, text = dataset.eval_rows, whole["tokens"][:, :3]
    assert whole["others"].shape == (n + 2, 3, 3)
    assert not whole["others"][n:].any()
    for k in range(3):
        np.testing.assert_array_equal(whole["others"][:n, k], np.roll(text[:n], -1 - k, axis=0))
    own = data.load("captioned")
    config = own.Config(**drawn | OPTIONS | {"others": 3})
    for name, x in own.spec(config).items():
        assert (x.shape[1:], x.dtype) == (whole[name].shape[1:], whole[name].dtype)


def test_captions_of_others_are_all_different():
    text = np.array([[1, 2], [1, 2], [3, 4], [1, 2], [5, 6], [3, 4]])
    wanted = [[2, 4], [2, 4], [3, 4], [4, 5], [5, 0], [0, 4]]
    assert captioned._others(text, 2).tolist() == wanted


def test_what_decides_rows_decides_the_digest(drawn, shared_cache, tmp_path):
    sha256, *_ = weights(tmp_path / "other.npz", seed=1)
    other = {"tokenizer": str(tmp_path / "other.npz"), "sha256": sha256}
    changes = ({}, other, {"moved": 0}, {"text": 2}, {"dropped": 0.1}, {"bare": 0.1}, {"words": 9})
    digests = [opened(drawn, **change).digest for change in changes]
    assert len(set(digests)) == len(changes)
    (tmp_path / "moved.npz").write_bytes((tmp_path / "other.npz").read_bytes())
    elsewhere = other | {"tokenizer": str(tmp_path / "moved.npz")}
    assert opened(drawn, **elsewhere).digest == digests[1]


def test_prompts_are_captions(drawn, shared_cache):
    dataset = opened(drawn)
    batch, lengths = dataset.facts["prompt"](["A Red heart, please", "the moon"])
    assert [said(dataset, row[:3]) for row in batch["tokens"]] == [("red", "heart"), ("moon",)]
    assert (batch["tokens"].shape, lengths.tolist()) == ((2, 18), [3, 3])
    with pytest.raises(ValueError, match="prompt: 'xyz'; allowed: a caption with words"):
        dataset.facts["prompt"](["red", "xyz"])


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"source": "images:digits"}, "reads images of 8x8x3; those of images:digits are 8x8x1"),
        ({"source": "images:csv:a"}, "'images:csv:a'; allowed behind images: one of fashion_mnist"),
        ({"source": "emojis"}, "data.source: 'emojis'; allowed: emoji, folder:PATH"),
        ({"evaluation": "train"}, "data.evaluation: 'train'; allowed: validation, test"),
        ({"evaluation": "compositions"}, "and 0 to evaluate on; allowed: 2 or more of both"),
        ({"moved": 9}, "data.moved: 9; allowed: 0 to 3"),
        ({"unique": 61}, r"data.unique: 61; allowed: 0 \(all\) to"),
        ({"others": 40}, "data.others: 40; .* captions of the .* drawings .* allowed: fewer"),
        ({"bare": 1.0}, "data.bare: 1.0; allowed: 0 to 0.9"),
        ({"sha256": ""}, "data.sha256: ''; the tokenizer .* has"),
    ],
)
def test_bad_options_say_why(drawn, changes, wrong, shared_cache):
    with pytest.raises(ValueError, match=wrong):
        opened(drawn, **changes)


def test_drawings_are_the_same_ones_as_pixels(drawn):
    def pixels(**changes):
        return data.open_dataset("drawings", {"source": drawn["source"]} | PLAIN | changes)

    dataset = pixels()
    found = drawings.find(drawn["source"], 8)
    train, held_out = drawings.sides(found, "test")
    epoch = dataset.train_batch(0, 0, dataset.train_rows)["image"]
    wanted = {x.tobytes() for x in found.images[train] / np.float32(255)}
    assert {x.tobytes() for x in epoch} == wanted
    assert dataset.eval_rows == len(held_out)
    assert pixels(crop=2).digest != dataset.digest
    moved = pixels(crop=2).train_batch(0, 0, dataset.train_rows)["image"]
    assert (moved != epoch).any()
    assert moved.shape == epoch.shape


def test_labelled_images_have_their_classes_for_captions(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (120, 4, 4, 1), np.uint8)
    labels = np.arange(120) % 2
    pixels[7] = pixels[3]  # twice to train on
    pixels[9] = pixels[111]  # and in the test side too
    train, test = (
        labelled.Side(pixels[part], labels[part]) for part in np.split(range(120), [100])
    )
    known = labelled.Known((4, 4, 1), ("T-shirt/top", "Bag"), lambda: (train, test))
    monkeypatch.setitem(labelled.KNOWN, "own", known)
    found = pictures.find("images:own", 4)
    whole = {"test": [*range(100)], "validation": []}
    for evaluation in whole:
        seen, held_out = drawings.sides(found, evaluation)
        whole[evaluation] = [{found.images[i].tobytes() for i in rows} for rows in (seen, held_out)]
        for i in (*seen, *held_out):
            (at,) = np.flatnonzero((pixels == found.images[i]).all((1, 2, 3)))[:1]
            assert found.captions[i] == (("t-shirt", "top"), ("bag",))[labels[at]]
    published = {x.tobytes() for x in test.images}
    assert whole["test"] == [{x.tobytes() for x in train.images} - published, published]
    (less, tuned), (more, _) = whole["validation"], whole["test"]
    assert (less | tuned, less & tuned) == (more, set())
    assert 2 < len(tuned) < 30
    options = PLAIN | {"source": "images:own", "side": 8}
    with pytest.raises(ValueError, match=r"data.side: 8; the images of images:own are 4x4"):
        data.open_dataset("drawings", options)


def emoji(monkeypatch, tmp_path):
    """The source emoji, of 100 things in three tones and two genders, drawn in two styles."""
    toned = {tone: {"image": ""} for tone in ("1F3FB", "1F3FF", "1F3FB-1F3FF")}
    entries, drawn = [], {}
    png = tmp_path / "one.png"
    image.new("RGBA", (4, 4), "red").save(png)
    for thing in range(100):
        for gender in ("2640", "2642"):
            point = f"1F{thing + 100}"
            of = {key: {"image": f"{point}-{gender}-{key}.png"} for key in toned}
            own = {"name": f"THING {point}", "category": "Kinds & All", "subcategory": "kind-one"}
            own |= {"unified": f"{point}-200D-{gender}-FE0F"}
            entries.append(own | {"image": f"{point}-{gender}.png", "skin_variations": of})
            for name in (entries[-1], *of.values()):
                drawn[name["image"]] = png.read_bytes()
    cldr = {"annotations": {"annotations": {"\U0001f100": {"tts": ["a big thing"]}}}}
    told = {"package/emoji.json": entries, "package/annotations/en/annotations.json": cldr}
    monkeypatch.setattr(wheel, "read", lambda pin, inside: json.dumps(told[inside]))
    monkeypatch.setattr(wheel, "members", lambda pin, folder: drawn.items())
    monkeypatch.setenv("ALLOMETRY_CACHE", str(tmp_path / "cache"))
    return drawings.find("emoji", 4)


def test_no_side_shows_what_another_does(monkeypatch, tmp_path):
    found = emoji(monkeypatch, tmp_path)
    assert len(found.captions) == 2 * 2 * 100 * 3  # two tones at once are left out
    assert found.captions[:2] == (
        ("google", "thing", "1f100", "kind-one", "kinds", "all", "a", "big"),
        ("google", "light-skin", "thing", "1f100", "kind-one", "kinds", "all", "a", "big"),
    )
    sides = {name: drawings.sides(found, name) for name in ("test", "validation", "compositions")}
    groups = {name: {found.groups[i] for i in held_out} for name, (_, held_out) in sides.items()}
    for name in ("test", "validation"):
        train, held_out = sides[name]
        assert not groups[name] & {found.groups[i] for i in train}
        assert 5 < len(groups[name]) < 30
        # All tones, genders and styles of a thing.
        assert len(held_out) == 12 * len(groups[name])
    assert not groups["test"] & (groups["validation"] | groups["compositions"])
    # Compositions: both parts are trained on, together never.
    train, unseen = sides["compositions"]
    assert train.tolist() == sides["test"][0].tolist()
    pairs = {(found.groups[i], found.having[i]) for i in train}
    for i in unseen:
        assert (found.groups[i], found.having[i]) not in pairs
        assert (found.groups[i], "") in pairs
    assert len(unseen) > 20
    # As labelled images, by their kinds, the same sides.
    with monkeypatch.context() as patched:
        patched.setattr(labelled, "KINDS", ("Other", "Kinds & All"))
        patched.setattr(drawings, "find", lambda source, side: found)
        for side, rows in zip(labelled._emoji(), sides["test"]):
            assert (side.images == found.images[rows]).all()
            assert set(side.labels) == {1}
    # From the cache, the same again.
    again = drawings.find("emoji", 4)
    assert again[1:] == found[1:]
    assert (again.images == found.images).all()
    assert isinstance(again, Drawings)
