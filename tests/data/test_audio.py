import numpy as np
import pytest

import data
from data import audio as of_rows
from data.sources import audio, espeak, speech
from tests.data.test_speech import RATE, hum, write, write_recordings

OPTIONS = {
    "source": "espeak:en-us",
    "evaluation": "test",
    "eval_rows": 6,
    "unique": 20,
    "labels": "phonemes",
    "rate": RATE,
    "hop": 10.0,
    "context": 160,
    "crop": 800,
}
HOP = 80


def speak(texts, voice):
    """Hums of the letters of a text, each a tenth of a second at 16 kHz, after one of silence."""
    said = []
    for text in texts:
        letters = [name for name in text if name != " "]
        parts = [np.zeros(1600, "<i2"), *(hum(name, 0.2) for name in letters)]
        starts = [1600 * (1 + place) for place in range(len(letters))]
        said.append(espeak.Spoken(np.concatenate(parts), letters, starts))
    return said, 2 * RATE


@pytest.fixture
def spoken(empty_cache, monkeypatch):
    monkeypatch.setattr(espeak, "speak", speak)
    monkeypatch.setattr(speech, "BLOCK", 16)


def opened(**changes):
    return data.open_dataset("audio", OPTIONS | changes)


def test_levels_are_the_nearest_on_the_scale_of_the_paper():
    samples = np.arange(-(1 << 15), 1 << 15).astype(np.int16)
    x = samples / 32768
    companded = np.sign(x) * np.log(1 + 255 * np.abs(x)) / np.log(256)
    scale = np.linspace(-1, 1, 256)
    near = np.abs(companded[::97, None] - scale).min(axis=1)
    found = of_rows.encode(samples)
    np.testing.assert_allclose(np.abs(companded - scale[found])[::97], near, atol=1e-12)
    assert of_rows.encode(np.zeros(1, np.int16))[0] == 128
    back = of_rows.decode(np.arange(256, dtype=np.uint8))
    np.testing.assert_array_equal(of_rows.encode(back), np.arange(256))
    assert back[128] == 0


def test_windows_share_out_all_samples_but_the_first(spoken):
    dataset = opened(labels="none")
    held = dataset._train.held
    recordings = np.split(of_rows.encode(held.samples), np.cumsum(held.lengths)[:-1])
    batch = of_rows._batch(dataset._config, dataset._train, np.arange(dataset.train_rows))
    scored = [x[c] for x, c in zip(batch["targets"], batch["counted"])]
    wanted = np.concatenate([levels[161:] for levels in recordings])
    np.testing.assert_array_equal(np.concatenate(scored), wanted)
    assert dataset.units_per_row == pytest.approx(np.mean([len(own) for own in scored]))
    assert not batch["counted"][:, :160].any()
    follows = batch["counted"][:, 1:]
    np.testing.assert_array_equal(
        batch["tokens"][:, 1:][follows], batch["targets"][:, :-1][follows]
    )
    epoch = dataset.train_batch(0, 0, dataset.train_rows)["targets"]
    assert sorted(map(tuple, epoch)) == sorted(map(tuple, batch["targets"]))


def test_labels_are_of_what_is_heard(spoken):
    batch, names = opened().train_batch(0, 1, 24), ["", *audio.IDS]
    heard = 0
    for tokens, labels, places, counted in zip(
        *(batch[name] for name in ("tokens", "phonemes", "places", "counted"))
    ):
        hops = int(counted.nonzero()[0][-1]) // HOP
        for hop in range(hops):
            # A tenth of a letter has a label; resampled, it rings a little at its ends.
            name = names[labels[hop, 1]]
            if name not in ("", audio.PAUSE) and 0 < places[hop] < 0.85:
                samples = of_rows.decode(tokens[hop * HOP : (hop + 1) * HOP]).astype(float)
                found = np.abs(np.fft.rfft(samples * np.hanning(HOP), RATE)).argmax()
                assert abs(found - 2 * (200 + ord(name))) < 40
                heard += 1
        changes = np.flatnonzero(np.diff(labels[:hops, 1]))
        np.testing.assert_array_equal(labels[changes + 1, 0], labels[changes, 1])
        np.testing.assert_array_equal(labels[changes, 2], labels[changes + 1, 1])
    assert heard > 60


def test_batches_are_the_same_on_any_hosts_and_again(spoken):
    dataset, again = opened(), opened()
    assert dataset.digest == again.digest != opened(crop=1600).digest
    whole = dataset.train_batch(3, 7, 6)
    for count in (2, 3):
        shards = [again.train_batch(3, 7, 6, (k, count)) for k in range(count)]
        for name, rows in whole.items():
            np.testing.assert_array_equal(np.concatenate([s[name] for s in shards]), rows)
    last = dataset.eval_batch(0, dataset.eval_rows + 2)
    np.testing.assert_array_equal(last["weight"][-2:], 0)
    assert not last["counted"][-2:].any()
    example = data.spec("audio", of_rows.Config(**OPTIONS))
    assert {k: (v.shape[1:], v.dtype) for k, v in example.items()} == {
        k: (v.shape[1:], v.dtype) for k, v in whole.items()
    }
    assert opened(eval_rows=3).eval_rows == 3 < dataset.eval_rows


def test_no_text_and_no_word_held_out_alone_is_trained_on(tmp_path, spoken):
    write_recordings(tmp_path)
    sides = {}
    for side in ("test", "validation"):
        dataset = opened(source=f"folder:{tmp_path}", evaluation=side, unique=0, eval_rows=0)
        sides[side], trained = dataset._eval.held.texts, dataset._train.held.texts
    held_out = {*sides["test"], *sides["validation"]}
    assert set(sides["test"]).isdisjoint(sides["validation"])
    assert held_out.isdisjoint(trained)
    alone = {text for text in held_out if " " not in text}
    assert alone
    assert not any(alone & set(text.split()) for text in trained)


def test_silence_is_told_apart_by_its_hops(tmp_path):
    loud, soft = hum("a", 0.2), np.random.default_rng(0).normal(0, 30, 1600).astype("<i2")
    for side in ("train", "test"):
        write(tmp_path / side / "one.wav", np.concatenate([loud, soft]))
        (tmp_path / side / "one.txt").write_text("a")
    dataset = opened(source=f"folder:{tmp_path}", unique=0, labels="none", crop=4000)
    batch = dataset.eval_batch(0, 1)
    spoken, counted = batch["spoken"][0], batch["counted"][0]
    # Sample 1600 is the first soft one; it is the target of the one before.
    np.testing.assert_array_equal(np.flatnonzero(counted), np.arange(160, 3199))
    np.testing.assert_array_equal(np.flatnonzero(spoken), np.arange(160, 1599))
    assert not batch["phonemes"].any()


def test_a_slower_recording_has_its_labels_where_its_sounds_are(tmp_path, spoken):
    theirs = np.random.default_rng(0).normal(size=(7, 3))
    times = np.array([1, 4, 2, 1, 1, 3, 2])
    first = audio.warp(theirs, theirs.repeat(times, axis=0))
    np.testing.assert_array_equal(first, np.cumsum(times) - times)

    text, seconds = "abdfgh", [0.1, 0.3, 0.2, 0.1, 0.2, 0.3]
    samples = [np.zeros(800, "<i2")]
    for letter, length in zip(text, seconds):
        at = np.arange(int(RATE * length)) / RATE
        samples.append((9000 * np.sin(4 * np.pi * (200 + ord(letter)) * at)).astype("<i2"))
    for side in ("train", "test"):
        write(tmp_path / side / "one.wav", np.concatenate(samples))
        (tmp_path / side / "one.txt").write_text(text)
    ids = opened(source=f"folder:{tmp_path}", unique=0)._train.held.phonemes[:, 1]
    starts = np.flatnonzero(np.diff(ids)) + 1
    assert [[*audio.IDS][i - 1] for i in ids[starts]] == [*text]
    assert np.abs(starts / 100 - np.cumsum([0.1, *seconds[:-1]])).max() <= 0.03


def test_a_prompt_is_silence_and_then_what_is_to_be_said(spoken):
    dataset, names = opened(), ["", *audio.IDS]
    batch, given = dataset.facts["prompt"](["Ab!", "a g d"])
    assert given.tolist() == [160, 160]
    assert batch["tokens"].shape == (2, 160 + 3200)  # a tenth of silence, three of sound
    assert (batch["tokens"][:, :160] == 128).all()
    assert batch["ends"].tolist() == [2400, 3200]
    said = [names[i] for i in batch["phonemes"][1, 7::10, 1]]
    assert said == ["_", "a", "g", "d"]
    sound, rate = dataset.facts["play"]([np.full(80, 128), np.arange(256)])
    assert (len(sound), rate) == (80 + 2000 + 256, RATE)
    with pytest.raises(ValueError, match="has a '1'"):
        dataset.facts["prompt"](["press 1"])
    assert "prompt" not in opened(labels="none").facts


BAD = {
    "empty": (hum("a")[:0], {}, "0 seconds of sound"),
    "low rate": (hum("a"), {"rate": 6000}, "6000 samples a second; allowed: at least 8000"),
    "8 bits": (hum("a"), {"width": 1}, "samples of 8 bits; allowed: 16"),
    "too short": (hum("a", 0.02), {}, "seconds of sound; allowed: 0.025"),
    "all context": (hum("a", 0.03), {}, "1 of which are too short; allowed"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_with_a_recording_is_one_line(tmp_path, case):
    samples, how, message = BAD[case]
    for side in ("train", "test"):
        write(tmp_path / side / "one.wav", samples, **how)
        (tmp_path / side / "one.txt").write_text("a")
    with pytest.raises(ValueError, match=r"^data\.") as error:
        opened(source=f"folder:{tmp_path}", unique=0, labels="none", context=240)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_wrong_with_a_config_is_one_line():
    wrong = {"source": "tapes", "labels": "words", "evaluation": "x", "unique": -1, "rate": 0}
    for field, value in (wrong | {"hop": 0.01, "context": 100, "crop": 0}).items():
        with pytest.raises(ValueError, match=f"data.{field}: ") as error:
            opened(**{field: value})
        assert "\n" not in str(error.value)
