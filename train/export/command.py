"""What `python -m train.export` does with its flags."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from train import cache, record, saved, step, workdir
from train.cli import InputError, Unavailable
from train.export import huggingface, incoming, stablehlo


def write(given: Any) -> int:
    """Writes a run's folder for others. Gives the exit code."""
    folder = saved.folder(given.workdir)
    if not given.out:
        raise InputError("--out: missing; give a folder to write")
    out = Path(given.out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"--out: {given.out!r}; allowed: a new folder, or an empty one")
    if given.to == "stablehlo":
        stablehlo.check()
    cache.use_cache()
    with workdir.locked(folder):
        run = saved.open_run(folder, given.step)
        model = step.build_model(run.config)
        if given.to == "huggingface":
            huggingface.check(run.config)
        state = jax.device_get(run.state())
    example = run.dataset.eval_batch(0, 1)
    if given.to == "stablehlo":
        variables = {"params": state.params, **state.extra}
        what = stablehlo.write(out, model, variables, example)
    else:
        what = _folder(out, run, state.params, example["tokens"].shape[1])
    print(f"{out}: {what}, of step {int(state.step)}")
    return 0


def _folder(out: Path, run: saved.Run, params: Any, context: int) -> str:
    facts = run.dataset.facts
    try:
        tokenizer = facts["tokenizer"]() if "tokenizer" in facts else None
    except ValueError as error:
        raise InputError(f"config.{error}") from None
    except OSError as error:
        raise Unavailable(f"config.{error}") from None
    name = huggingface.write(out, run.config, params, context, facts.get("end"))
    if tokenizer is None:
        return f"{name}, without a tokenizer"
    says = tokenizer["added_tokens"][-1]["content"]
    record.save_json(out / huggingface.TOKENIZER, tokenizer)
    known = {"bos_token": says, "eos_token": says, "model_max_length": context}
    others = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    record.save_json(out / "tokenizer_config.json", known | others)
    return name


def bring(given: Any, source: str, values: Mapping[str, Any]) -> int:
    """Makes a run of others' folder. Gives the exit code."""
    cache.use_cache()
    config, params, more = incoming.read(Path(source), values)
    folder = Path(given.workdir)
    with workdir.locked(folder):
        incoming.save(folder, config, params)
    rows = f"; {more} rows added to the vocabulary" if more else ""
    print(f"{folder}: {source} as a gpt at step 0{rows}")
    return 0
