import numpy as np
import pytest

from benchmarks import frechet


def test_pictures_are_held_against_the_real_ones_of_their_captions(capsys):
    random = np.random.default_rng(0)
    real = random.normal(0, 1, (400, 3)), random.integers(0, 4, 400)
    # Moved by 2 in one feature, which is squared the distance of the means; classes by one row.
    moved = real[0] + [2, 0, 0], np.roll(real[1], 1)
    frechet.show("same", real, real)
    frechet.show("moved", moved, real)
    found = {}
    for line in capsys.readouterr().out.splitlines():
        name, _, told = line.removesuffix(" (400 of each)").partition(": ")
        pairs = (each.split(" +- ")[0].split() for each in told.split(", "))
        found[name] = {key: float(value) for key, value in pairs}
    assert found["same"]["frechet"] == pytest.approx(0, abs=1e-6)
    assert (found["same"]["other"], found["same"]["precision"]) == (0, 1)
    assert found["moved"]["frechet"] == pytest.approx(4, rel=0.01)
    assert found["moved"]["other"] == pytest.approx(np.mean(moved[1] != real[1]), rel=0.01)
