"""A masked language model read on, and tuned to tell its texts apart."""

import jax
import numpy as np
import pytest

from configs import bert_classifier, bert_texts
from tests.train.test_run import final_state
from train import config as configuration
from train import run
from train.cli import InputError

BODY = ("params/embedding", "params/in_norm/*", "params/blocks/*", "params/out_norm/*")


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A file of texts whose class is the last word's."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("texts") / "texts.csv"
    lines = [
        f"{number} {' '.join(rng.choice(list('abcdef'), 4))} {('bad', 'good')[number % 2]}"
        for number in range(200)
    ]
    path.write_text("text,label\n" + "".join(f"{x},{x.split()[-1] == 'good':d}\n" for x in lines))
    return path


def tiny(recipe, source, **changes) -> configuration.RunConfig:
    config = recipe(8, 320)
    config.data.update(source=f"csv:{source}", tokenizer="bytes", length=16, unique=0)
    if recipe is bert_classifier.recipe:
        config.model.classes = 2
    config.update(steps=6, batch_size=8)
    config.update_from_flattened_dict(changes)
    return configuration.resolve(config.to_dict())


@pytest.fixture(scope="module")
def read(texts, tmp_path_factory):
    """A run that has read the texts, and its weights at the end."""
    folder, config = tmp_path_factory.mktemp("read") / "run", tiny(bert_texts.recipe, texts)
    found = run.run(config, folder)
    assert set(found.metrics) == {"loss", "accuracy", "perplexity"}
    return folder, final_state(folder, config).params


def tuned(texts, read, folder, groups, **changes):
    """The weights of a classifier that began with them."""
    given = {"start.run": str(read), "start.take": BODY, "optimizer.groups": groups} | changes
    config = tiny(bert_classifier.recipe, texts, **given)
    run.run(config, folder)
    return final_state(folder, config).params


def group(match: str, rate: float) -> dict:
    return {"match": match, "rate": rate, "decay": 1.0, "every": 1}


def test_a_frozen_body_stays_as_it_was_read_to_the_bit(texts, read, tmp_path):
    folder, before = read
    frozen = [group(path.removeprefix("params/"), 0.0) for path in BODY]
    after = tuned(texts, folder, tmp_path / "run", frozen)
    for name in ("embedding", "in_norm", "blocks", "out_norm"):
        jax.tree.map(np.testing.assert_array_equal, after[name], before[name])
    assert np.any(after["head"]["kernel"] != 0)


def test_layers_nearer_to_the_text_move_less(texts, read, tmp_path):
    """By a factor of the rate for the embedding, which stands before all layers."""
    folder, before = read
    slow = [group("embedding", 0.01), group("blocks/*", 0.3)]
    moved = {}
    for name, groups in (("slow", slow), ("full", [])):
        after = tuned(texts, folder, tmp_path / name, groups)
        moved[name] = [
            max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (after[k], before[k]))))
            for k in ("embedding", "blocks")
        ]
    assert 0 < moved["slow"][0] < 0.05 * moved["full"][0]
    assert moved["slow"][1] < 0.7 * moved["full"][1]


def test_what_does_not_fit_is_named(texts, read, tmp_path):
    folder, _ = read
    with pytest.raises(
        InputError, match=r"attention/key is float32 \[2, 12, 2, 6\], and .*2, 8, 2, 4"
    ):
        tuned(texts, folder, tmp_path / "run", (), **{"model.width": 12})
