import numpy as np
import pytest
from scipy import ndimage

import data
from data import driving, traffic
from data.sources import road, road_view

OPTIONS = {"seed": 0, "episodes": 4, "evaluation": "test", "eval_rows": 10, "side": 32}
OPTIONS |= {"noise": 0.0}


@pytest.fixture(scope="module", autouse=True)
def made_up():
    """Decisions that nobody simulated: eight cars that do not touch, in other places each time."""

    def decisions(seed, stream, episodes):
        rng = np.random.default_rng([seed, stream])
        cars = np.zeros((episodes * 5, 1 + road.SEEN, road.FEATURES), np.float32)
        cars[:, 0, 0] = 1
        places = np.arange(-80, 120, 11)
        metres = np.stack([rng.permutation(places[abs(places) > 10])[:8] for _ in cars])
        cars[:, 1:, 1] = (metres + rng.uniform(-2, 2, metres.shape)) / 50
        cars[..., 2] = rng.integers(0, 4, cars.shape[:2]) - 1.5
        return {"cars": cars}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driving, "decisions", decisions)
        yield


@pytest.fixture
def opened():
    return data.open_dataset("traffic", OPTIONS)


def test_boxes_are_where_the_picture_shows_cars(opened):
    batch = opened.eval_batch(0, 10)
    for image, box, there in zip(batch["image"], batch["box"], batch["there"]):
        grey = traffic.scenes.pixels(image).astype(float).sum(-1)
        road_, line, other = (sum(c) for c in (road_view.ROAD, road_view.LINE, road_view.OTHERS))
        grey[8::8] = np.where(np.isclose(grey[8::8], line), road_, grey[8::8])
        blue = (traffic.scenes.pixels(image)[..., 2].astype(int) - image_red(image)) > 40
        share = np.where(blue, 0, (grey - road_) / (other - road_)).clip(0, 1)
        spots, count = ndimage.label(share > 0.02)
        whole = [i for i in range(1, count + 1) if not on_edge(spots == i)]
        centres = ndimage.center_of_mass(share, spots, whole)
        middle = np.stack([(box[:, 1] + box[:, 3]) / 2, (box[:, 0] + box[:, 2]) / 2], axis=1)
        for centre in np.array(centres) + 0.5:
            apart = np.abs(middle[there > 0] - centre).max(1)
            assert apart.min() < 0.15, (centre, middle[there > 0])
        assert len(whole) <= there.sum() <= count


def image_red(image):
    return traffic.scenes.pixels(image)[..., 0].astype(int)


def on_edge(spot):
    return spot[:, [0, 1, -2, -1]].any()


def test_sides_differ_and_a_batch_is_as_it_was_said_to_be(opened):
    config = traffic.Config(**OPTIONS)
    batch, told = opened.train_batch(0, 3, 8), data.spec("traffic", config)
    assert {k: (x.shape[1:], x.dtype) for k, x in batch.items()} == {
        k: (x.shape[1:], x.dtype) for k, x in told.items()
    }
    halves = [opened.train_batch(0, 3, 8, (k, 2))["box"] for k in range(2)]
    np.testing.assert_array_equal(np.concatenate(halves), batch["box"])
    assert opened.facts == data.facts("traffic", config)
    assert (opened.train_rows, opened.eval_rows) == (20, 10)
    tuned = data.open_dataset("traffic", OPTIONS | {"evaluation": "validation"})
    assert not np.array_equal(tuned.eval_batch(0, 10)["box"], opened.eval_batch(0, 10)["box"])
    assert tuned.digest != opened.digest


def test_noise_is_of_the_row_and_the_step():
    noisy = data.open_dataset("traffic", OPTIONS | {"noise": 16.0})
    first, again = (noisy.train_batch(0, 0, 4)["image"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    plain = data.open_dataset("traffic", OPTIONS).train_batch(0, 0, 4)["image"]
    added = (first - plain) * traffic.scenes.SPREAD
    assert added.std() == pytest.approx(16, rel=0.1)
    assert abs(np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("episodes", 0, "1 to"),
        ("evaluation", "train", "allowed: validation, test"),
        ("eval_rows", 1, "at least 2"),
        ("side", 8, "16 to 512"),
        ("noise", -1.0, "0 to"),
    ],
)
def test_a_bad_field_is_named(field, value, says):
    with pytest.raises(ValueError, match=f"data.{field}: {value!r}.*{says}"):
        data.open_dataset("traffic", OPTIONS | {field: value})
