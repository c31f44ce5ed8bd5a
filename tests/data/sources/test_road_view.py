import numpy as np
import pytest

from data.sources import road, road_view
from data.sources.road_view import View

VIEW = View(height=16, width=20, behind=30.0, ahead=20.0)  # 2.5 m and a quarter of a lane


def test_a_pixel_has_the_share_of_it_that_is_covered():
    rng = np.random.default_rng(0)
    box = road_view.boxes(VIEW, rng.uniform(-35, 25, 30), rng.uniform(-0.5, 3.5, 30))
    fine = 64  # points to a pixel, each way
    y, x = ((np.arange(n * fine) + 0.5) / fine for n in (VIEW.height, VIEW.width))
    for (left, top, right, bottom), found in zip(box, road_view.covered(VIEW, box)):
        inside = ((y > top) & (y < bottom))[:, None] & ((x > left) & (x < right))
        counted = inside.reshape(VIEW.height, fine, VIEW.width, fine).mean((1, 3))
        np.testing.assert_allclose(found, counted, atol=2.1 / fine)


def test_a_car_is_five_metres_long_and_in_its_lane():
    (ahead, beside) = road_view.boxes(VIEW, np.array([10.0, 0.0]), np.array([0.0, 3.0]))
    np.testing.assert_allclose(ahead, [15, 1, 17, 3])
    np.testing.assert_allclose(beside, [11, 13, 13, 15])


def test_a_film_shows_cars_on_their_way_and_a_crash():
    # Two decisions: the other car changes to the left and comes nearer, over the end of the ring.
    worlds = road.World(
        x=np.array([[395.0, 5.0], [5.0, 10.0], [5.0, 10.0]]),
        y=np.array([[3.0, 1.0], [3.0, 0.0], [3.0, 0.0]]),
        lane=None,
        v=None,
        wish=None,
        alive=np.array([True, True, False]),
    )
    film = road_view.film(VIEW, worlds)
    assert film.shape == (1 + 2 * road_view.RATE, 16, 20, 3)
    for number, alive in ((0, True), (2 * road_view.RATE, False)):
        own = road_view.OWN if alive else road_view.CRASHED
        assert (film[number, 13:15, 11:13] == own).all()
    place = [np.argwhere((x == road_view.OTHERS).all(-1)).mean(0) for x in film]
    np.testing.assert_allclose(place[0], [5.5, 15.5])  # 10 m ahead, the second lane
    np.testing.assert_allclose(place[road_view.RATE], [1.5, 13.5])  # 5 m ahead, the first
    for number in range(road_view.RATE + 1):
        rows = np.array([0, 1, 2, 3, 5, 6, 7])  # not 4, where the line is
        light = film[number, rows, 12:, 0].astype(float) - road_view.ROAD[0]
        middle = (light * np.arange(12, 20)).sum() / light.sum()
        assert middle == pytest.approx(15.5 - 2 * number / road_view.RATE, abs=0.02)
