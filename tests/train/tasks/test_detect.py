import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import detector
from train import config as configuration
from train import run
from train.tasks import detect

CONFIG = detect.Config(1.0, 2.0, 0.25, 2.0, 1.0, 4.0, 0.6)
CENTRES = np.array(
    [(x, y) for s in (4, 8) for y in np.arange(s / 2, 32, s) for x in np.arange(s / 2, 32, s)]
)
STRIDES = np.repeat([4.0, 8.0], [64, 16])
# The first two share places, which are the smaller one's; the third is for the coarser level.
BOXES = np.array([[8, 8, 16, 14], [2, 9, 11, 16], [1, 3, 29, 30], [0, 0, 32, 32]], np.float32)
LABELS, THERE = np.array([2, 0, 1, 1]), np.array([1, 1, 1, 0], np.float32)
P, C = len(STRIDES), 3
RANDOM = np.random.default_rng(0)
SAID = {
    "object": RANDOM.normal(size=(2, P)).astype(np.float32),
    "class": RANDOM.normal(size=(2, P, C)).astype(np.float32),
    "box": np.concatenate(
        [CENTRES - RANDOM.uniform(1, 9, (2, P, 2)), CENTRES + RANDOM.uniform(1, 9, (2, P, 2))], -1
    ).astype(np.float32),
    "centre": CENTRES.astype(np.float32),
    "stride": STRIDES.astype(np.float32),
}


def batch(there=THERE, padding=0.0):
    there = np.stack([there, np.zeros(4)])
    box = np.where(there[..., None] > 0, BOXES, padding)
    weight = jnp.ones(2)
    named = {"box": box, "label": np.stack([LABELS] * 2), "there": there, "weight": weight}
    return {name: jnp.asarray(x) for name, x in named.items()}


def scored(given, said=SAID):
    return detect.losses(CONFIG, lambda _: jax.tree.map(jnp.asarray, said), given, None)


def iou(one, other):
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = max(sides[0], 0) * max(sides[1], 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return both / (sum(areas) - both), sum(areas) - both


def finders():
    """Of each place the object that it is to find, by loops."""
    found = {}
    for place, (centre, stride) in enumerate(zip(CENTRES, STRIDES)):
        for k in sorted(range(3), key=lambda k: np.prod(BOXES[k, 2:] - BOXES[k, :2])):
            near = np.abs((BOXES[k, :2] + BOXES[k, 2:]) / 2 - centre).max() < stride
            if near and (max(BOXES[k, 2:] - BOXES[k, :2]) > 16) == (stride == 8):
                found.setdefault(place, k)
    return found


def test_the_loss_is_what_a_loop_over_objects_counts():
    found, mine = scored(batch()), finders()
    assert sorted(set(mine.values())) == [0, 1, 2]
    counts = {k: list(mine.values()).count(k) for k in range(3)}
    chance = 1 / (1 + np.exp(-SAID["class"][0].astype(np.float64)))
    classes = boxes = 0.0
    asked = np.zeros(P)
    for place, k in mine.items():
        hot = np.arange(C) == LABELS[k]
        right = np.where(hot, chance[place], 1 - chance[place])
        classes += (-((1 - right) ** 2) * np.log(right)).sum() / counts[k]
        own, box = SAID["box"][0, place], BOXES[k]
        asked[place], either = iou(own, box)
        corners = np.minimum(own[:2], box[:2]), np.maximum(own[2:], box[2:])
        around = np.prod(corners[1] - corners[0])
        boxes += (1 - asked[place] + (around - either) / around) / counts[k]
    logit = SAID["object"].astype(np.float64)
    objects = np.log1p(np.exp(logit)).sum(1) - [(logit[0] * asked).sum(), 0]
    assert found.sums["class_loss"][0] == pytest.approx(classes, rel=1e-4)
    assert found.sums["box_loss"][0] == pytest.approx(boxes, rel=1e-4)
    np.testing.assert_allclose(found.sums["object_loss"], objects, rtol=1e-4)
    np.testing.assert_allclose(found.objective[0], classes + 2 * boxes + objects[0] / 4, rtol=1e-4)
    # An image without anything has objectness to say alone.
    assert found.sums["class_loss"][1] == found.sums["box_loss"][1] == 0
    np.testing.assert_array_equal(found.units, [1, 1])


def test_padding_says_nothing_and_has_finite_gradients():
    one, other = (scored(batch(padding=x)) for x in (0.0, 7.0))
    np.testing.assert_array_equal(one.objective, other.objective)

    def total(box):
        return scored(batch(), {**SAID, "box": box}).objective.sum()

    found = jax.grad(total)(jnp.asarray(SAID["box"]))
    assert np.isfinite(found).all()
    assert set(np.flatnonzero(np.abs(found[0]).sum(-1))) <= set(finders())


def rows():
    """In one image a box of class 0 and one of class 1, in the other one of class 0."""
    found = {
        "box": [[[0, 0, 10, 10], [20, 20, 30, 30]], [[0, 0, 10, 10], [0, 0, 0, 0]]],
        "label": [[0, 1], [0, 0]],
        "there": [[1, 1], [1, 0]],
        "said_box": [
            [[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 27]],
            [[50, 50, 60, 60], [0, 0, 10, 6], [0, 0, 1, 1]],
        ],
        "said_label": [[0, 0, 1], [0, 0, 1]],
        "score": [[0.9, 0.8, 0.7], [0.85, 0.3, 0.0]],
    }
    return {name: np.array(x, np.float64 if "box" in name else None) for name, x in found.items()}


def test_precision_by_hand():
    """Class 0, by score: right .9; of another image wrong .85; a second one of the same wrong .8,
    right .3 where IoU .6 is enough. Recall 1/2 at precision 1, then 1 at 2/4. Class 1: IoU .7."""
    found = detect.average_precision(rows())
    half = 51 / 101  # recalls from 0 to .5
    np.testing.assert_allclose(found[:3, 0], half + 0.5 * (1 - half))
    np.testing.assert_allclose(found[3:, 0], half)
    np.testing.assert_allclose(found[:, 1], [1] * 5 + [0] * 5)
    whole = detect.summarise(CONFIG, rows(), {"class_names": ("a", "b")})
    # The second one of the same thing is dropped, so that precision is 2/3 at recall 1.
    assert whole["ap/b"] == pytest.approx(0.5)
    assert whole["map_50"] == pytest.approx((half + 2 / 3 * (1 - half) + 1) / 2)
    assert whole["map"] == pytest.approx((whole["ap/a"] + whole["ap/b"]) / 2)
    assert set(detect.RANGE) <= set(whole)


def test_a_class_that_nothing_is_of_has_no_precision():
    found = rows()
    found["there"][0, 1] = 0
    assert set(detect.summarise(CONFIG, found, {})) == {"map", "map_50", "map_75", "ap/0"}
    found["there"][:] = 0
    assert detect.summarise(CONFIG, found, {}) == {}


def test_of_boxes_of_one_thing_the_likeliest_is_left():
    box = [[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5], [0, 0, 10, 10], [0, 5, 10, 10]]
    found = detect.distinct(
        {"said_box": np.array([box], float), "said_label": np.array([[0, 0, 0, 1, 0]])}, 0.6
    )
    # The second goes with the first; the third, which only the second would drop, stays.
    np.testing.assert_array_equal(found, [[True, False, True, True, True]])


def scenes(images=200, classes=3):
    """Rows of which some boxes are right, some nearly, some said twice, and some at random."""
    random = np.random.default_rng(0)
    there = (np.arange(5) < random.integers(0, 6, (images, 1))).astype(np.float32)
    low = random.uniform(0, 80, (images, 5, 2))
    box = np.concatenate([low, low + random.uniform(4, 40, (images, 5, 2))], -1)
    label = random.integers(classes, size=(images, 5))
    near = np.concatenate([box + random.normal(0, s, box.shape) for s in (1, 3, 3, 30)], axis=1)
    near[..., 2:] = np.maximum(near[..., 2:], near[..., :2] + 1)
    said = np.tile(label, 4)
    wrong = random.random(said.shape) < 0.2
    said = np.where(wrong, random.integers(classes, size=said.shape), said)
    score = np.round(random.random(said.shape), 2)  # with ties
    named = {"box": box, "label": label, "there": there}
    return named | {"said_box": near, "said_label": said, "score": score}


@pytest.mark.skipif(
    importlib.util.find_spec("faster_coco_eval") is None,
    reason="faster-coco-eval is optional and not installed",
)
def test_precision_is_that_of_a_kept_evaluator():
    import faster_coco_eval

    found = scenes()
    coco = {"images": [{"id": i + 1} for i in range(200)], "annotations": []}
    coco["categories"] = [{"id": c} for c in range(3)]
    said = []
    for i, row in enumerate(zip(*(found[k] for k in ("box", "label", "there")))):
        for box, label, there in zip(*row):
            sides = [*box[:2], *(box[2:] - box[:2])]
            one = {"image_id": i + 1, "category_id": int(label), "bbox": list(map(float, sides))}
            area = {"area": float(sides[2] * sides[3]), "iscrowd": 0}
            if there:
                coco["annotations"].append({"id": len(coco["annotations"]) + 1, **one, **area})
        for box, label, score in zip(*(found[k][i] for k in ("said_box", "said_label", "score"))):
            sides = [*box[:2], *(box[2:] - box[:2])]
            one = {"image_id": i + 1, "category_id": int(label), "bbox": list(map(float, sides))}
            if score > 0:
                said.append({**one, "score": float(score)})
    truth = faster_coco_eval.COCO(coco)
    theirs = faster_coco_eval.COCOeval_faster(truth, truth.loadRes(said), "bbox")
    theirs.evaluate()
    theirs.accumulate()
    expected = theirs.eval["precision"][..., 0, -1].mean(1)
    np.testing.assert_allclose(detect.average_precision(found), expected, atol=1e-9)


def tiny(**changes):
    config = detector.recipe(4, 6400)
    config.data.update(source="composed:digits", side=32, smallest=12, largest=28, eval_rows=40)
    config.data.objects, config.task.class_weight = 2, 1.0
    config.evaluation.batch_size = 20
    config.update(steps=80, batch_size=8, log_every=1)
    config.update_from_flattened_dict(changes)
    return configuration.resolve(config.to_dict())


def test_a_run_learns_where_things_are(tmp_path):
    found = run.run(tiny(), tmp_path / "run")
    parts = {"class_loss", "box_loss", "object_loss"}
    assert {"loss", *parts, *detect.RANGE} <= set(found.metrics)
    assert (found.unit, found.D) == ("image", 640)
    curve = [x for _, x in found.curve]
    # One object in the mean: each of ten classes costs a quarter of log 2 (focus), its boxes are
    # next to nothing right (2 of GIoU), and its places are said to be empty (about 2).
    assert curve[0] == pytest.approx(10 * np.log(2) / 4 + 2 + 2, abs=2)
    assert np.mean(curve[-20:]) < np.mean(curve[:20])


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, -1.0, "class_weight: -1.0; must be in"),
        (3, 101.0, "focus: 101.0; must be in"),
        (4, 0.1, "radius: 0.1; must be in"),
        (6, 0.0, "suppress: 0.0; must be in"),
    ],
)
def test_what_a_config_cannot_be(place, value, said):
    given = [1.0, 2.0, 0.25, 2.0, 1.0, 4.0, 0.6]
    given[place] = value
    with pytest.raises(ValueError, match=said):
        detect.Config(*given)
