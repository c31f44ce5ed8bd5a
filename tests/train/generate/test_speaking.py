"""Sound made by a run of wavenet of a few steps."""

import wave

import jax
import numpy as np
import pytest

from configs import wavenet
from data import audio as of_rows
from data.sources import espeak
from tests import verbs
from tests.data.test_audio import speak
from tests.data.test_speech import write_recordings
from train import run, saved, step
from train.config import resolve


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a folder of hums; its synthesiser hums too."""
    folder = tmp_path_factory.mktemp("sound")
    write_recordings(folder / "own")
    config = wavenet.recipe(4, 1e4)
    config.data.update(source=f"folder:{folder / 'own'}", hop=10.0, context=80)
    config.data.update(crop=800, eval_rows=8)
    config.model.update(stacks=1, dilations=4)
    config.update(steps=3, batch_size=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(espeak, "speak", speak)
        patch.setenv("ALLOMETRY_CACHE", str(folder / "cache"))
        record = run.run(resolve(config.to_dict()), folder / "run")
        assert {"loss", "bits_per_second", "spoken_loss"} <= record.metrics.keys()
        yield folder / "run"


def call(folder, *flags):
    return verbs.call("train.generate", f"--workdir={folder}", *flags)


def test_a_recording_is_what_passes_over_all_of_it_say(trained, tmp_path):
    to = tmp_path / "new" / "a.wav"
    done = call(trained, "--prompt=a", "--prompt=b", f"--to={to}", "--tokens=12")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{to}\n", "")
    with wave.open(str(to)) as file:
        assert file.getparams()[:4] == (1, 2, 8000, 12 + 2000 + 12)  # a quarter of a second between
        samples = np.frombuffer(file.readframes(12), "<i2")
    found = saved.open_run(trained, 0)
    model, params = step.build_model(found.config), found.state().params
    batch, _ = found.dataset.facts["prompt"](["a"])
    apply = jax.jit(model.apply)
    for place in range(80, 92):
        logits = apply({"params": params}, batch)[0, place - 1]
        batch["tokens"][0, place] = logits.argmax()
    np.testing.assert_array_equal(samples, of_rows.decode(batch["tokens"][0, 80:92]))

    whole = call(trained, "--prompt=a", f"--to={to}", "--temperature=1", "--each=2")
    assert whole.returncode == 0
    with wave.open(str(to)) as file:
        one, other = np.split(np.frombuffer(file.readframes(9999), "<i2"), [1600])
    assert len(other) == 2000 + 1600  # the letter and a pause before it, a tenth of a second each
    assert not np.array_equal(one, other[2000:])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--to: missing; give the .wav that is to be written"),
        (["--to=a.png"], "--to: a.png; give the .wav"),
        (["--to=a.wav", "--each=99"], "--each: 99; allowed: 1 to 16"),
        (["--to=a.wav", "--prompt=dial 500"], "'dial 500' has a '5'; allowed: letters"),
    ],
)
def test_bad_flags_are_one_line(trained, tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    done = call(trained, "--prompt=a", *flags)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not [*tmp_path.iterdir()]
