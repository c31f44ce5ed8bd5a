import gzip
import io
import wave

import numpy as np
import pytest

import data
from data import speech as of_rows
from data.sources import espeak, sound, speech, wheel

RATE = 8000
OPTIONS = {
    "source": "espeak:en-us",
    "evaluation": "test",
    "eval_rows": 8,
    "unique": 24,
    "mels": 8,
    "hop": 10.0,
    "stride": 2,
    "frames": 120,
    "characters": 44,
    "masks": 0,
    "pace": 0.0,
}
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "theta", "iota"]


def hum(text: str, seconds: float = 0.5) -> np.ndarray:
    """A tone of the text's own."""
    hertz = 200 + sum(map(ord, text)) % 3000
    return (9000 * np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE)).astype("<i2")


def write(place, samples, rate=RATE, channels=1, width=2):
    if isinstance(place, str) or hasattr(place, "parent"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place = str(place)
    with wave.open(place, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


def write_recordings(folder, count=40):
    """Words alone and in pairs, spoken twice each, in files of one folder."""
    texts = [*WORDS, *(f"{a} {b}" for a in WORDS[:5] for b in WORDS[5:])]
    for number in range(count):
        text = texts[number // 2 % len(texts)]
        write(folder / f"{number}.wav", hum(text))
        (folder / f"{number}.txt").write_text(f"{text.title()}!\n")


@pytest.fixture
def spoken(empty_cache, monkeypatch):
    """A synthesiser that hums, half a second whatever the text but where that is long."""
    calls = []

    def speak(texts, voice):
        calls.append(texts)
        said = [hum(text, 0.5 if len(text) > 40 else 1.1) for text in texts]
        return [espeak.Spoken(samples, [], []) for samples in said], RATE

    monkeypatch.setattr(espeak, "speak", speak)
    monkeypatch.setattr(speech, "BLOCK", 16)
    return calls


def opened(**changes):
    return data.open_dataset("speech", OPTIONS | changes)


def test_a_tone_is_in_the_band_of_its_pitch():
    seconds = np.arange(RATE) / RATE
    mel = np.linspace(*(2595 * np.log10(1 + f / 700) for f in (60.0, 4000.0)), 22)
    for hertz in (300.0, 1000.0, 3000.0):
        # Noise elsewhere, in one half alone: the tone is what the other half has more of.
        tone = np.sin(2 * np.pi * hertz * seconds) * (seconds > 0.5)
        noise = np.random.default_rng(0).normal(size=RATE) * 0.1
        found = sound.log_mel(tone + noise, RATE, 20, 10.0)
        assert found.shape == (98, 20)  # (1 - .025) / .01, and one
        np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(found.std(axis=0), 1, atol=1e-3)
        louder = found[52:].mean(axis=0) - found[:46].mean(axis=0)
        at = 2595 * np.log10(1 + hertz / 700)
        assert abs(mel[1:-1][louder.argmax()] - at) < mel[1] - mel[0]


def test_loudness_and_rate_change_little():
    seconds = np.arange(32000) / 16000
    chirp = np.sin(2 * np.pi * (300 + 400 * seconds) * seconds)
    found = sound.log_mel(chirp, 16000, 20, 10.0)
    np.testing.assert_allclose(sound.log_mel(chirp * 0.01, 16000, 20, 10.0), found, atol=1e-3)
    slower = sound.log_mel(chirp[::2], 8000, 20, 10.0)
    assert np.corrcoef(slower.ravel(), found[: len(slower)].ravel())[0, 1] > 0.9


def test_a_row_is_a_recording_with_its_text(spoken):
    dataset = opened()
    batch = dataset.train_batch(0, 3, 6)
    for row in range(6):
        text = dataset.facts["decode"](batch["labels"][row])
        frames = batch["frames"][row]
        heard = sound.log_mel(hum(text, 0.5 if len(text) > 40 else 1.1), RATE, 8, 10.0)
        assert frames == len(heard)
        np.testing.assert_allclose(batch["speech"][row, :frames], heard, rtol=1e-3, atol=1e-3)
        assert not batch["speech"][row, frames:].any()
        np.testing.assert_array_equal(of_rows.encode(text), batch["labels"][row, : len(text)])
    halves = [dataset.train_batch(0, 3, 6, (k, 2))["labels"] for k in range(2)]
    np.testing.assert_array_equal(np.concatenate(halves), batch["labels"])
    last = dataset.eval_batch(1, 5)
    np.testing.assert_array_equal(last["weight"][dataset.eval_rows - 5 :], 0)
    example = data.spec("speech", of_rows.Config(**OPTIONS))
    assert {k: (v.shape[1:], v.dtype) for k, v in example.items()} == {
        k: (v.shape[1:], v.dtype) for k, v in batch.items()
    }


def test_what_is_trained_on_may_be_masked_and_paced(spoken):
    plain, other = opened(), opened(masks=2, pace=0.3)
    batches = [dataset.train_batch(1, 2, 6) for dataset in (plain, other)]
    np.testing.assert_array_equal(*(batch["labels"] for batch in batches))
    assert len(set(batches[1]["frames"])) > len(set(batches[0]["frames"]))
    halves = [other.train_batch(1, 2, 6, (k, 2))["speech"] for k in range(2)]
    np.testing.assert_array_equal(np.concatenate(halves), batches[1]["speech"])
    for heard, frames in zip(batches[1]["speech"], batches[1]["frames"]):
        assert not heard[frames:].any()
    for name, one in plain.eval_batch(0, 4).items():
        np.testing.assert_array_equal(one, other.eval_batch(0, 4)[name])
    assert plain.digest != other.digest


def test_what_has_more_characters_than_steps_is_left_out_and_said(spoken):
    dataset = opened(stride=2, unique=48)
    short = [text for text in spoken[0] + spoken[1] + spoken[2] if len(text) > 40]
    assert short
    assert dataset.train_rows == 48 - len(short)
    assert f"{len(short)} not for they have more characters than steps" in dataset.note
    assert of_rows.steps("aabcc") == 7
    assert dataset.units_per_row == pytest.approx(108)  # (1.1 - .025) / .01, and one


def test_a_smaller_set_is_part_of_a_larger_one_and_nothing_is_spoken_twice(spoken):
    small, large = opened(unique=20), opened(unique=40)
    spoken.clear()
    again = opened(unique=40)
    assert again.digest == large.digest != small.digest
    assert not spoken
    few, many = (set(dataset._train.texts) for dataset in (small, large))
    assert few < many


def test_no_phrase_and_no_chapter_is_on_two_sides():
    found, _ = speech.verses()
    sides = [set(texts) for texts in found.values()]
    assert [len(a & b) for a, b in zip(sides, sides[1:] + sides[:1])] == [0, 0, 0]
    assert min(map(len, sides)) > 3000
    assert all(24 <= len(text) <= 44 for side in sides for text in side)
    verse = "And God said, Let there be light: and there was light (and it was so)."
    assert list(speech.phrases(verse)) == [
        "and god said let there be light",
        "and there was light and it was so",
    ]


def test_no_text_and_no_word_held_out_alone_is_trained_on(tmp_path):
    write_recordings(tmp_path)
    held_out = set()
    for side in ("test", "validation"):
        dataset = opened(source=f"folder:{tmp_path}", evaluation=side, unique=0, eval_rows=0)
        held_out |= set(dataset._eval.texts)
        trained = dataset._train.texts
    assert not held_out & set(trained)
    assert len(trained) % 2 == 0
    alone = {text for text in held_out if " " not in text}
    assert alone
    assert not any(alone & set(text.split()) for text in trained)


def test_names_of_folders_say_the_side(tmp_path):
    for side, text in (("train", "a b"), ("dev-clean", "c"), ("test", "a b")):
        write(tmp_path / side / "one.wav", hum(text))
        (tmp_path / side / "one.txt").write_text(text)
    dataset = opened(source=f"folder:{tmp_path}", evaluation="validation", unique=0)
    assert (dataset._train.texts, dataset._eval.texts) == (["a b"], ["c"])


def test_prompts_without_speech_or_with_numbers_are_left_out(monkeypatch):
    texts = "; a comment\none: Press 1, or 2!\ntone: [beep]\nmany: dial 500\nat: at [@]\n"
    monkeypatch.setattr(wheel, "read", lambda *_: gzip.compress(texts.encode()))
    file = io.BytesIO()
    write(file, hum("a"))
    names = ("one.wav", "tone.wav", "many.wav", "at.wav")
    monkeypatch.setattr(wheel, "members", lambda *_: [(name, file.getvalue()) for name in names])
    found, note = speech._prompts()
    assert [one.text for one in found] == ["press one or two", "at"]
    assert "; 2 whose text" in note


BAD = {
    "empty": (hum("a")[:0], {}, "a", "0 seconds of sound"),
    "low rate": (hum("a"), {"rate": 6000}, "a", "6000 samples a second; allowed: at least 8000"),
    "8 bits": (hum("a"), {"width": 1}, "a", "samples of 8 bits; allowed: 16"),
    "digits": (hum("a"), {}, "a 1", "has a '1'; allowed: letters"),
    "accent": (hum("a"), {}, "é", "has a 'é'; allowed: letters"),
    "no words": (hum("a"), {}, "...", "has no words"),
    "text too long": (hum("a"), {}, "a" * 30, "0 of 1 recordings to train on fit, 1 not for"),
    "too long": (hum("a", 3), {}, "a", "0 of 1 recordings to train on fit; allowed"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_with_a_recording_is_one_line(tmp_path, case):
    samples, how, text, message = BAD[case]
    for side in ("train", "test"):
        write(tmp_path / side / "one.wav", samples, **how)
        (tmp_path / side / "one.txt").write_text(text)
    with pytest.raises(ValueError, match=r"^data\.") as error:
        opened(source=f"folder:{tmp_path}", unique=0)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_wrong_with_a_config_is_one_line(tmp_path):
    write(tmp_path / "train" / "one.wav", hum("a"))
    with pytest.raises(OSError, match=r"there is no one\.txt beside it"):
        opened(source=f"folder:{tmp_path}")
    for field, value in (("source", "tapes"), ("frames", 121), ("hop", 0), ("evaluation", "x")):
        with pytest.raises(ValueError, match=f"data.{field}: "):
            opened(**{field: value})
    with pytest.raises(OSError, match="no such folder"):
        opened(source=f"folder:{tmp_path / 'nowhere'}")
