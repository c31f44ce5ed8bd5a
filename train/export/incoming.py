"""Others' weights as a run of ours, at step 0: to write with, to evaluate, to train on."""

import contextlib
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from train import before, checkpoint, step, workdir
from train import config as configuration
from train.cli import InputError, Unavailable
from train.config import RunConfig
from train.export import huggingface


def read(folder: Path, values: Mapping[str, Any]) -> tuple[RunConfig, dict[str, Any], int]:
    """A folder of transformers as a gpt, and a config in which it is the model.

    The data's separator is a token that the folder may lack: its row is that of the token that the
    folder begins or ends texts with.

    Args:
      folder: theirs.
      values: of a config whose model is gpt, which says all but the model and the tokenizer.

    Returns:
      the config, the parameters, and how many rows were added to the vocabulary.

    Raises:
      InputError: the folder or the config is wrong, or they do not go together.
    """
    of_config, of_data = (dict(values.get(group) or {}) for group in ("model", "data"))
    if of_config.get("name") != "gpt":
        raise InputError(f"--config: its model is {of_config.get('name')!r}; allowed: gpt")
    model, params, told = huggingface.read(folder)
    own = {**values, "data": of_data, "model": {**of_config, **model}}
    tokenizer = folder / huggingface.TOKENIZER
    if tokenizer.exists() and "tokenizer" in of_data:
        of_data["tokenizer"] = f"json:{tokenizer.absolute()}"
    known = configuration.resolve(own).data
    needed = configuration.of_data(configuration.data.facts, known).get("vocab_size") or 0
    more = max(0, needed - model["vocab_size"])
    if more:
        _widen(params, more, told)
        own["model"]["vocab_size"] = needed
    config = configuration.resolve(own)
    context = getattr(config.data.config, "sequence_length", 0)
    longest = told.get("max_position_embeddings")
    if type(longest) is int and context > longest:
        raise InputError(
            f"config.data.sequence_length: {context}; allowed: at most {longest}, which "
            f"{folder / huggingface.CONFIG} says"
        )
    return config, params, more


def _widen(params: dict[str, Any], more: int, told: Mapping[str, Any]) -> None:
    """Adds tokens that are what stands between texts, or else what a token is on average."""

    def row(table_VxD: np.ndarray, names: tuple[str, str]) -> np.ndarray:
        found = [told[name] for name in names if type(told.get(name)) is int]
        there = [i for i in found if 0 <= i < len(table_VxD)]
        return table_VxD[there[0]] if there else table_VxD.mean(axis=0)

    def longer(table_VxD: np.ndarray, *names: str) -> np.ndarray:
        return np.concatenate([table_VxD, np.tile(row(table_VxD, names), (more, 1))])

    params["embedding"] = longer(params["embedding"], "bos_token_id", "eos_token_id")
    if "head" in params:
        params["head"] = longer(params["head"].T, "eos_token_id", "bos_token_id").T


def save(folder: Path, config: RunConfig, params: Mapping[str, Any]) -> None:
    """Makes a folder that of a run with these parameters, of which no step was taken.

    Raises:
      InputError: the config does not fit its data, or the folder is another run's.
      SaveError: it could not be written.
    """
    if workdir.read(folder) or checkpoint.saved_steps(folder):
        raise Unavailable(f"{folder} holds another run; give a new workdir")
    dataset = before.open_data(config)
    functions = step.compile_for(config, dataset.eval_batch(0, 1))
    state = functions.init(step.hyper_of(config))
    state = state._replace(
        params=jax.tree.map(lambda w, own: jax.device_put(w, own.sharding), params, state.params)
    )
    saves = checkpoint.Checkpoints(folder, config, dataset.digest)
    with contextlib.closing(saves):
        saves.save(0, state, account=before.account(config, dataset, 0))
        saves.wait()
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    workdir.claim(folder, config, dataset.digest, now, {})
