"""Recurrent and conformer blocks of ctc on many devices."""

import pytest

from configs import ctc, ctc_conformer
from tests.data.test_speech import write_recordings
from tests.train.devices.meshes import train_on
from train import config as configuration


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "split"),
    [
        (ctc, {"block_0/forwards/recurrent": ["tensor"]}),
        (
            ctc_conformer,
            {
                "block_0/attention/query": ["tensor"],
                "block_0/before/in": ["tensor"],
                "block_1/convolution/depthwise": ["tensor"],
            },
        ),
    ],
)
def test_any_mesh_gives_the_losses_of_one_device(experiment, split, tmp_path):
    write_recordings(tmp_path)
    config = experiment.recipe(16, 1e4)
    config.data.update(source=f"folder:{tmp_path}", frames=60, characters=12, unique=0)
    config.data.update(eval_rows=0)
    config.update(batch_size=8, steps=40, log_every=1)
    meshes = ({}, {"data": 8}, {"fsdp": 8}, {"tensor": 4}, {"data": 2, "fsdp": 2, "tensor": 2})
    base = configuration.resolve(config.to_dict())
    results = train_on(base, *({"mesh": mesh} for mesh in meshes))
    expected = results[0]["losses"]
    assert expected[-1] < 0.9 * expected[0]
    for found in results[1:]:
        assert found["losses"] == pytest.approx(expected, rel=1e-4)
    for path, axes in split.items():
        assert results[3]["split"]["params"][path] == axes
