"""Pixels beside an embedder."""

import pytest

from benchmarks import pixels
from tests.data.test_identities import OPTIONS, people  # noqa: F401
from train.cli import InputError
from train.tasks import match


@pytest.mark.parametrize("whiten", [False, True])
def test_pictures_of_noise_are_told_apart_by_chance_alone(people, whiten):  # noqa: F811
    temperature, found = pixels.measure(OPTIONS | {"source": people}, whiten)
    assert temperature == max(pixels.TEMPERATURES)  # who knows nothing says so
    assert set(found) == {"loss", *match.RANGE}
    assert found["top_1"][0] == pytest.approx(1 / 4, abs=0.25)
    assert found["verification"][0] == pytest.approx(0.5, abs=0.2)
    with pytest.raises(InputError, match=r"data\.source: 'faces'; allowed: emoji"):
        pixels.measure(OPTIONS | {"source": "faces"}, whiten)
