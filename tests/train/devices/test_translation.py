"""An encoder and a decoder on many devices: what is split is other than in gpt."""

import json

import numpy as np
import pytest

from configs import seq2seq
from tests.train.devices.meshes import train_on
from train import config as configuration
from train import run


def translation(folder, **changes) -> configuration.RunConfig:
    """A tiny run on sentences that are to be written backwards."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(400):
        text = "".join(rng.choice(list("abcdef"), rng.integers(3, 9)))
        lines.append(json.dumps({"source": f"{number} {text}", "target": text[::-1]}))
    (folder / "pairs.jsonl").write_text("\n".join(lines))
    config = seq2seq.recipe(32, 1e4)
    config.model.update(heads=4, hidden=64)
    config.data.update(source=f"jsonl:{folder}/pairs.jsonl", tokenizer="bytes")
    config.data.update(source_length=16, target_length=12)
    config.update(steps=40, batch_size=8, log_every=1)
    config.optimizer.learning_rate = 0.01
    config.update_from_flattened_dict(changes)
    return configuration.resolve(config.to_dict())


def test_a_run_is_scored_by_what_it_writes(tmp_path):
    found = run.run(translation(tmp_path, **{"steps": 60}), tmp_path / "run")
    names = "accuracy bits_per_byte bleu chrf loss perplexity rouge_l"
    assert " ".join(sorted(found.metrics)) == names
    assert found.curve[-1][1] < 0.8 * found.curve[0][1]
    assert found.metrics["perplexity"][0] == pytest.approx(np.exp(found.loss))
    assert found.metrics["chrf"][0] > 1
    assert found.metrics["chrf"][1] > 0
    # A unit is a target token, of which rows have more or fewer; the account knows their mean.
    assert pytest.approx(60 * 8 * 6.5, rel=0.05) == found.D
    assert found.N["encoder"] < found.N["decoder"]


@pytest.mark.slow
def test_any_mesh_gives_the_losses_of_one_device(tmp_path):
    meshes = ({}, {"data": 8}, {"fsdp": 8}, {"tensor": 4}, {"data": 2, "fsdp": 2, "tensor": 2})
    results = train_on(translation(tmp_path), *({"mesh": mesh} for mesh in meshes))
    expected = results[0]["losses"]
    assert expected[-1] < 0.8 * expected[0]
    for found in results[1:]:
        assert found["losses"] == pytest.approx(expected, rel=1e-4)
    split = results[2]["split"]["params"]
    assert split["decoder/blocks/cross/query"] == split["decoder_memory/key"] == ["fsdp"]
    assert results[3]["split"]["params"]["decoder_memory/value"] == ["tensor"]
