import json
import re

import pytest

from configs import cnn, gpt, linear, seq2seq
from train import config as configuration
from train.cli import InputError
from train.identity import differences, digest_of


def values(**changes) -> dict:
    config = gpt.get_config()
    config.update_from_flattened_dict(changes)
    return config.to_dict()


def test_a_config_survives_the_way_there_and_back():
    resolved = configuration.resolve(values())
    assert configuration.resolve(configuration.to_dict(resolved)) == resolved
    given = values(**{"model.vocab_size": 257})
    assert configuration.to_dict(resolved) == json.loads(json.dumps(given))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": 0}, "config.steps: 0; at least 1"),
        ({"seed": -1}, "config.seed: -1; in [0, 2^31)"),
        ({"optimizer.name": "adam"}, "config.optimizer.name: 'adam'; did you mean 'adamw'?"),
        ({"optimizer.b1": 1.0}, "config.optimizer.b1: 1.0; in [0, 1)"),
        ({"schedule.name": "cosin"}, "did you mean 'cosine'?"),
        ({"schedule.warmup": 2.0}, "config.schedule.warmup: 2.0; in [0, 1]"),
        ({"model.name": "gtp"}, "config.model.name: 'gtp'; did you mean 'gpt'?"),
        ({"model.heads": 5}, "config.model.heads: 5; width 64"),
        ({"task.name": "next_tokens"}, "config.task.name: 'next_tokens'; did you mean 'next_t"),
        ({"data.name": "txt"}, "config.data.name: 'txt'; did you mean 'text'?"),
        ({"mesh.data": 0}, "config.mesh.data: 0"),
    ],
)
def test_a_bad_value_is_one_clear_line(changes, says):
    with pytest.raises(InputError, match=re.escape(says)) as error:
        configuration.resolve(values(**changes))
    assert "\n" not in str(error.value)


def test_a_missing_field_an_unknown_field_and_a_wrong_type():
    for change, says in (
        (lambda v: v["model"].pop("width"), "config.model.width: missing"),
        (
            lambda v: v["model"].update(widht=3),
            "config.model.widht: no such field; did you mean 'width'?",
        ),
        (lambda v: v.update(steps="many"), "config.steps: 'many'; must be int"),
        (lambda v: v.update(steps=True), "config.steps: True; must be int"),
        (lambda v: v.update(optimizer=3), "config.optimizer: 3; must be a group of fields"),
        (
            lambda v: v["optimizer"].update(eps=float("nan")),
            "config.optimizer.eps: nan; must be finite",
        ),
    ):
        broken = values()
        change(broken)
        with pytest.raises(InputError, match=re.escape(says)):
            configuration.resolve(broken)


def test_an_int_may_stand_for_a_float():
    assert configuration.resolve(values() | {"seed": 1}).optimizer.weight_decay == 0.1
    v = values()
    v["optimizer"]["weight_decay"] = 0
    assert configuration.resolve(v).optimizer.weight_decay == 0.0


def test_the_digest_is_of_what_decides_the_numbers():
    digests = {
        name: configuration.digest(configuration.resolve(values(**changes)))
        for name, changes in {
            "base": {},
            "seed": {"seed": 1},
            "width": {"model.width": 32},
            "saved more often": {"checkpoint.every": 3},
            "on another mesh": {"mesh.fsdp": 2},
        }.items()
    }
    assert digests["base"] == digests["saved more often"] == digests["on another mesh"]
    assert len({digests["base"], digests["seed"], digests["width"]}) == 3


def test_differences_name_each_field():
    a, b = values(), values(seed=3, **{"model.width": 32})
    assert differences(a, b) == [
        "config.model.width: 64, not 32",
        "config.seed: 0, not 3",
    ]


def test_the_vocabulary_follows_the_data_unless_given():
    def resolved(**changes):
        return configuration.resolve(values(**{"model.vocab_size": 0} | changes))

    assert resolved().model.config.vocab_size == 257
    assert configuration.digest(resolved()) == configuration.digest(
        configuration.resolve(values(**{"model.vocab_size": 257}))
    )
    assert resolved(**{"data.tokenizer": "bpe:1024"}).model.config.vocab_size == 1024
    given = {"data.tokenizer": "bpe:1024", "model.vocab_size": 2048}
    assert resolved(**given).model.config.vocab_size == 2048
    with pytest.raises(InputError, match=r"config\.data\.tokenizer: 'bpe:x'; allowed: bytes, bpe:"):
        resolved(**{"data.tokenizer": "bpe:x"})
    table = linear.get_config().to_dict()["data"]
    with pytest.raises(InputError, match=r"config\.model\.vocab_size: 0; must be at least 1"):
        configuration.resolve(values(**{"model.vocab_size": 0}) | {"data": table})


def test_more_steps_than_the_device_can_count_are_refused(tiny):
    assert tiny(steps=2**31 - 1).steps == 2**31 - 1
    with pytest.raises(InputError, match=r"config.steps: 2147483648; below 2\^31"):
        tiny(steps=2**31)


@pytest.mark.parametrize(
    ("experiment", "field", "changed"),
    [
        (gpt, "cleaning", {"data.cleaning.similar": 0.8}),
        (seq2seq, "cleaning", {"data.cleaning.unicode": "NFC"}),
        (cnn, "mixup", {"data.mixup": 0.2}),
    ],
)
def test_fields_of_data_that_older_configs_lack(experiment, field, changed):
    config = experiment.get_config()
    now = configuration.resolve(config.to_dict())
    older = configuration.to_dict(now)
    del older["data"][field]
    assert configuration.resolve(older) == now
    assert digest_of(older) == configuration.digest(now)
    assert configuration.other_run(now, older) == []
    config.update_from_flattened_dict(changed)
    other = configuration.resolve(config.to_dict())
    assert configuration.digest(other) != configuration.digest(now)
    assert configuration.resolve(configuration.to_dict(other)) == other
