"""What searching is worth to a run of ctc, with and without an n-gram of its own training texts.

    python -m benchmarks.transcripts --run=runs/prompts [--evaluation=validation] [--rows=0]
        [--orders=6] [--weights=.25,.5,.75] [--bonuses=.5,1]

CER and WER, with their errors, of the best path (greedy), of a prefix beam search, and of one with
an n-gram of each order, weight and bonus (train.generate.transcribing): choose by the validation
side, and then look at the test side once. The best path says of each step what is likeliest there.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import jax
import numpy as np
from absl import flags

from train import before, cache, saved, step
from train.cli import InputError, numbers, run_main
from train.config import Choice
from train.evaluation import mean_and_error
from train.generate.ngram import Ngram
from train.generate.transcribing import Prior, search
from train.tasks.transcribe import BLANK, distance

BATCH = 32


def heard(run: saved.Run, dataset) -> Iterator[tuple[np.ndarray, str]]:
    """Of each recording the log-probabilities of its steps [L, K], and what is said."""
    model, state = step.build_model(run.config), run.state()
    variables = {"params": state.params, **state.extra}
    apply = jax.jit(lambda batch: jax.nn.log_softmax(model.apply(variables, batch)))
    for index in range(-(-dataset.eval_rows // BATCH)):
        batch = dataset.eval_batch(index, BATCH)
        log_p_BxLxK = np.asarray(apply(batch), np.float64)
        steps_B = batch["frames"] * log_p_BxLxK.shape[1] // batch["speech"].shape[1]
        for row in np.flatnonzero(batch["weight"]):
            yield log_p_BxLxK[row, : steps_B[row]], dataset.facts["decode"](batch["labels"][row])


def best_path(log_p_LxK: np.ndarray) -> tuple[int, ...]:
    """What the likeliest class of each step says."""
    found = (k for k, _ in itertools.groupby(log_p_LxK.argmax(axis=1).tolist()))
    return tuple(k for k in found if k != BLANK)


def told(written: list[str], meant: list[str]) -> str:
    """CER and WER."""
    parts = []
    for name, cut in (("CER", tuple), ("WER", lambda text: tuple(text.split()))):
        errors = [distance(cut(a), cut(b)) for a, b in zip(written, meant)]
        value, error = mean_and_error(np.array(errors), np.array([len(cut(b)) for b in meant]))
        parts.append(f"{name} {value:.4f} +- {error:.4f}")
    return ", ".join(parts)


def main() -> None:
    """Prints all."""
    given = flags.FLAGS
    cache.use_cache()
    run = saved.open_run(saved.folder(given.run), 0)
    if run.config.task.name != "transcribe":
        raise InputError(f"--run: of task {run.config.task.name}; give one that transcribes")
    side = dataclasses.replace(
        run.config.data.config, evaluation=given.evaluation, eval_rows=given.rows
    )
    dataset = before.open_data(dataclasses.replace(run.config, data=Choice("speech", side)))
    rows, meant = zip(*heard(run, dataset))
    decode, facts = dataset.facts["decode"], run.dataset.facts
    print(f"{len(rows)} recordings of the {given.evaluation} side")
    print(f"best path: {told([decode(best_path(row)) for row in rows], meant)}", flush=True)
    priors = {"beams": Prior()}
    for order in numbers("orders", given.orders):
        ngram = Ngram(facts["texts"](), int(order), facts["classes"])
        chosen = numbers("weights", given.weights), numbers("bonuses", given.bonuses)
        for weight, bonus in itertools.product(*chosen):
            name = f"{order:g}-gram, weight {weight:g}, bonus {bonus:g}"
            priors[name] = Prior(ngram, weight, bonus)
    for name, prior in priors.items():
        written = [decode(search(row, given.beams, prior)[0]) for row in rows]
        print(f"{name}: {told(written, meant)}", flush=True)


if __name__ == "__main__":
    flags.DEFINE_string("run", None, "Folder of a run of ctc.")
    flags.DEFINE_enum("evaluation", "validation", ["test", "validation"], "Which recordings.")
    flags.DEFINE_integer("rows", 0, "At most so many; 0 = all.", 0)
    flags.DEFINE_integer("beams", 16, "Beginnings that are kept.", 1)
    flags.DEFINE_list("orders", ["6"], "Of n-grams of characters.")
    flags.DEFINE_list("weights", ["0.25", "0.5", "0.75"], "How much an n-gram counts.")
    flags.DEFINE_list("bonuses", ["0.5", "1"], "Nats that each character is helped.")
    run_main(main)
