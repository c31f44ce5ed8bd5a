import json

import numpy as np
import pytest

import data
from data.sources import composed

image = pytest.importorskip("PIL.Image")
pytest.importorskip("sklearn")
COMPOSED = {
    "source": "composed:digits",
    "evaluation": "test",
    "eval_rows": 12,
    "side": 48,
    "objects": 3,
    "smallest": 8,
    "largest": 24,
    "flip": False,
}
RED, BLUE = (250, 0, 0), (0, 0, 250)


def opened(**changes):
    return data.open_dataset("scenes", COMPOSED | changes)


def test_a_scene_is_a_function_of_its_seed_step_and_row():
    dataset = opened()
    whole = dataset.train_batch(3, 5, 8)
    halves = [dataset.train_batch(3, 5, 8, (k, 2)) for k in (0, 1)]
    for name, rows in whole.items():
        np.testing.assert_array_equal(rows, np.concatenate([half[name] for half in halves]))
    np.testing.assert_array_equal(dataset.train_batch(3, 5, 3)["image"], whole["image"][:3])
    for other in (dataset.train_batch(4, 5, 8), dataset.train_batch(3, 6, 8)):
        assert not np.isin(other["image"].sum((1, 2, 3)), whole["image"].sum((1, 2, 3))).any()
    assert dataset.train_rows is None
    assert opened().digest == dataset.digest != opened(largest=23).digest


def test_evaluation_scenes_are_fixed_and_padded():
    batch, again = (opened().eval_batch(1, 8) for _ in range(2))
    assert batch["weight"].tolist() == [1] * 4 + [0] * 4
    for name, rows in batch.items():
        np.testing.assert_array_equal(rows, again[name])
        assert rows.dtype == data.spec("scenes", data.load("scenes").Config(**COMPOSED))[name].dtype
    np.testing.assert_array_equal(batch["there"].sum(1), batch["objects"])
    assert not batch["box"][batch["there"] == 0].any()


def test_what_is_in_a_scene_lies_in_its_box(monkeypatch):
    """On one colour all that differs from it is in a box, and reaches all four of its edges."""
    monkeypatch.setattr(composed, "PLAIN", 1.0)
    batch = opened(objects=1).train_batch(0, 0, 40)
    pixels = data.load("scenes").pixels(batch["image"]).astype(int)
    for scene, (box,), there in zip(pixels, batch["box"].astype(int), batch["there"][:, 0]):
        left, top, right, bottom = box
        corners = scene[[0, 0, -1, -1], [0, -1, 0, -1]]
        other = (scene != np.median(corners, axis=0)).any(-1)
        assert other[top:bottom, left:right].any() == there
        if there:
            assert 8 <= max(right - left, bottom - top) <= 24
            edges = (
                other[top:bottom, [left, right - 1]].any(0),
                other[[top, bottom - 1], left:right],
            )
            assert edges[0].all()
            assert edges[1].any(1).all()
        other[top:bottom, left:right] = False
        assert not other.any()
    assert 5 < batch["there"].sum() < 35


def test_sides_share_no_sprite_and_no_pixel_of_a_photograph():
    made, classes, names = composed.parts("digits")
    assert (classes, names) == (10, tuple("0123456789"))
    sprites = [{x.tobytes() for x in made[side].sprites.images} for side in composed.SIDES]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        # Two different pictures may be the same within their bounds.
        assert len(sprites[one] & sprites[other]) < 0.01 * len(sprites[other])
    widths = [made[side].photographs[0].shape[1] for side in composed.SIDES]
    assert widths == [384, 128, 128]
    counts = [len(made[side].sprites.images) for side in composed.SIDES]
    assert np.abs(np.array(counts) / sum(counts) - composed.SHARES).max() < 0.03


def coco(folder, count=40, **changes):
    """Images of 20 x 10 pixels, in each a red or a blue box."""
    folder.mkdir(exist_ok=True)
    random, annotations, images = np.random.default_rng(0), [], []
    for number in range(count):
        pixels = random.integers(0, 99, (10, 20, 3), np.uint8)
        if number % 4:
            pixels[2:6, 5:15] = RED if number % 2 else BLUE
            box = {"image_id": number, "category_id": 7 if number % 2 else 3, "bbox": [5, 2, 10, 4]}
            annotations.append(box)
        image.fromarray(pixels).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png"})
    names = [{"id": 7, "name": "red"}, {"id": 3, "name": "blue"}]
    found = {"images": images, "annotations": annotations, "categories": names} | changes
    (folder / "annotations.json").write_text(json.dumps(found))
    return found


def own(folder, **changes):
    return opened(source=f"coco:{folder}/annotations.json", eval_rows=0, side=40, **changes)


def test_a_persons_own_images_are_scaled_with_their_boxes(tmp_path):
    coco(tmp_path)
    dataset = own(tmp_path)
    assert dataset.train_rows + dataset.eval_rows + own(
        tmp_path, evaluation="validation"
    ).eval_rows == pytest.approx(40)
    assert dataset.facts["class_names"] == ("blue", "red")
    for batch in (dataset.train_batch(0, 0, dataset.train_rows), dataset.eval_batch(0, 6)):
        pixels = data.load("scenes").pixels(batch["image"])
        for i in np.flatnonzero(batch["there"][:, 0]):
            np.testing.assert_array_equal(batch["box"][i, 0], [10, 8, 30, 24])
            assert tuple(pixels[i, 16, 20]) == (BLUE, RED)[batch["label"][i, 0]]


def test_a_mirrored_image_has_mirrored_boxes(tmp_path):
    found = coco(tmp_path)
    for box in found["annotations"]:
        box["bbox"] = [5, 2, 5, 4]  # the left half
    coco(tmp_path, annotations=found["annotations"])
    batch = own(tmp_path, flip=True).train_batch(0, 0, 100)
    pixels = data.load("scenes").pixels(batch["image"]).astype(int)
    sides = batch["box"][batch["there"][:, 0] > 0, 0, 0]
    assert set(sides.tolist()) == {10, 20}
    assert pixels.shape == (100, 40, 40, 3)
    for scene, box in zip(pixels, batch["box"][:, 0].astype(int)):
        # Either half of what is drawn is of one colour.
        assert (
            np.ptp(scene[12:20, box[0] + 2 : box[2] - 2].reshape(-1, 3), axis=0).max() == 0
            or not box.any()
        )


def without(row, field):
    return {name: value for name, value in row.items() if name != field}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f["annotations"][0].update(bbox=[15, 2, 10, 4]), "outside of 20x10 pixels"),
        (lambda f: f["annotations"][0].update(bbox=[5, 2, 0, 4]), "annotations[0] has bbox"),
        (lambda f: f["annotations"][0].update(bbox=[5, 2, "a", 4]), "annotations[0] has bbox"),
        (lambda f: f["annotations"][2].update(category_id=4), "category_id 4; allowed: 3, 7"),
        (lambda f: f["annotations"][2].update(image_id=99), "annotations[2] has image_id 99"),
        (lambda f: f["images"][5].update(file_name="no.png"), "no.png; there is no such file"),
        (lambda f: f["images"][5].update(id=4), "images[5] has id 4, which another one has"),
        (lambda f: f["images"].clear(), "has no images; allowed"),
        (lambda f: f["categories"].clear(), "has no categories; allowed"),
        (lambda f: f.pop("annotations"), "has no list 'annotations'"),
        (lambda f: f["annotations"].extend(f["annotations"][:1] * 4), "has 5 boxes; data.objects"),
        (lambda f: [x.update(iscrowd=1) for x in f["annotations"]], "allowed: 1 and 2"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path, change, said):
    found = coco(tmp_path, 16)
    change(found)
    (tmp_path / "annotations.json").write_text(json.dumps(found))
    with pytest.raises((ValueError, OSError)) as caught:
        own(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        own(tmp_path)
    (tmp_path / "annotations.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        own(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "composed:cats"}, "data.source: 'cats'; allowed"),
        ({"source": "voc:x"}, "data.source: 'voc:x'; allowed: composed:NAME, coco:PATH"),
        ({"evaluation": "train"}, "data.evaluation: 'train'; allowed"),
        ({"side": 8}, "data.side: 8; allowed: 16 to 512"),
        ({"objects": 0}, "data.objects: 0; allowed: 1 to 100"),
        ({"largest": 49}, "data.largest: 49; allowed: 4 to 48"),
        ({"smallest": 25}, "data.smallest: 25; allowed: 4 to 24"),
        ({"eval_rows": 1}, "data.eval_rows: 1; allowed: at least 2"),
    ],
)
def test_what_a_config_cannot_be(changes, said):
    with pytest.raises(ValueError, match=said):
        opened(**changes)
