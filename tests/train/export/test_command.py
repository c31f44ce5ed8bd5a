"""`python -m train.export`: out of a run and into one."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import tokenizers

from configs import finetune
from tests import verbs
from tests.train.export.cases import begun, logits
from train import config as configuration
from train import saved, step

LLAMA = {"model.activation": "swiglu", "model.qk_norm": False}


def call(*flags):
    return verbs.call("train.export", *flags)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Few texts of few words: a tokenizer of the embedded corpus takes its time."""
    folder, rng = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnop"), 6)) for _ in range(60)]
    for i in range(40):
        (folder / f"{i}.txt").write_text(" ".join(rng.choice(words, 200)))
    return f"folder:{folder}"


@pytest.fixture(scope="module")
def run(texts, tmp_path_factory):
    """A run of a gpt on pieces of words."""
    from configs import gpt

    config = gpt.recipe(16, 1e4)
    config.update(steps=8, batch_size=4)
    config.data.update(sequence_length=32, eval_tokens=2048)
    config.data.update(source=texts, tokenizer="bpe:300")
    config.update_from_flattened_dict(LLAMA)
    folder = tmp_path_factory.mktemp("run")
    begun(folder, configuration.resolve(config.to_dict()))
    return folder


def test_a_run_goes_out_and_comes_back(run, texts, tmp_path):
    out, back = tmp_path / "out", tmp_path / "back"
    done = call(f"--workdir={run}", "--to=huggingface", f"--out={out}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{out}: LlamaForCausalLM, of step 0\n"
    tokenizer = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
    one, text = saved.open_run(run, 0), "And the earth, naïve"
    batch, (n,) = one.dataset.facts["prompt"]([text])
    assert tokenizer.encode(text).ids == batch["tokens"][0, :n].tolist()
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.token_to_id("<|endoftext|>") == one.dataset.facts["end"] == 299

    flags = ["--config=configs/gpt.py:width=32", "--config.data.sequence_length=16"]
    flags.append(f"--config.data.source={texts}")
    done = call(f"--from={out}", f"--workdir={back}", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{back}: {out} as a gpt at step 0; 1 rows added to the vocabulary\n"
    two, tokens = saved.open_run(back, 0), batch["tokens"]
    a, b = (logits(r.config.model.config, r.state().params, tokens) for r in (one, two))
    np.testing.assert_allclose(b[..., :300], a, atol=2e-6)
    np.testing.assert_array_equal(b[..., 300], b[..., 299])  # as probable as the other end

    tuned = configuration.resolve(finetune.get_config(f"{back}").to_dict())
    assert tuned.start.run == str(back)
    assert tuned.model == two.config.model
    done = call(f"--from={out}", f"--workdir={back}", *flags)
    assert (done.returncode, "holds another run" in done.stderr) == (2, True)


@pytest.mark.skipif(not find_spec("flatbuffers"), reason="flatbuffers is not installed")
def test_a_program_runs_without_this_project(run, tmp_path):
    out = tmp_path / "out"
    done = call(f"--workdir={run}", "--to=stablehlo", f"--out={out}")
    assert (done.returncode, done.stderr) == (0, "")
    readme = (out / "README.md").read_text()
    script = readme.split("```python\n")[1].split("```")[0]
    tokens = np.random.default_rng(0).integers(0, 300, (3, 32), np.int32)
    np.save(out / "tokens.npy", tokens)
    script = script.replace('np.zeros((1, 32), "int32")', 'np.load("tokens.npy")')
    script += "\nnp.save('logits.npy', outputs)"
    subprocess.run([sys.executable, "-c", script], cwd=out, check=True)
    of_run = saved.open_run(run, 0)
    ours = step.build_model(of_run.config).apply(
        {"params": of_run.state().params}, {"tokens": tokens}
    )
    np.testing.assert_allclose(np.load(out / "logits.npy"), ours, atol=1e-5)
    shapes = json.loads((out / "shapes.json").read_text())
    assert shapes["batch"] == {"tokens": {"shape": ["rows", 32], "dtype": "int32"}}


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "--to: give it, or --from"),
        (["--to=huggingface", "--from=x"], "--to: give it, or --from"),
        (["--to=onnx"], "huggingface|stablehlo"),
        (["--to=huggingface"], "--workdir: missing"),
        (["--to=huggingface", "--workdir={run}"], "--out: missing"),
        (["--to=huggingface", "--workdir={run}", "--out={run}"], "allowed: a new folder"),
        (["--from=/nowhere"], "--workdir: missing"),
        (["--from=/nowhere", "--workdir={new}"], "--config: missing"),
        (
            ["--from=/nowhere", "--workdir={new}", "--config=configs/gpt.py"],
            "/nowhere/config.json: no such file",
        ),
        (
            ["--from=/nowhere", "--workdir={new}", "--config=configs/linear.py"],
            "its model is 'linear'; allowed: gpt",
        ),
    ],
)
def test_bad_input_is_one_line(flags, says, run, tmp_path):
    done = call(*(flag.format(run=run, new=tmp_path / "new") for flag in flags))
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("run_folder", "says"), [("", "give a run's folder"), ("/nowhere", "No such file")]
)
def test_fine_tuning_needs_a_run(run_folder, says):
    with pytest.raises(finetune.base.BadDial, match=says):
        finetune.get_config(run_folder)
