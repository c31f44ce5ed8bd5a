"""What a model that summarises has to beat: ROUGE-L of parts of the source, and of other summaries.

    python -m benchmarks.summaries [--evaluation=test]

Of the same rows as configs/summary.py, with the same sources, cut where the model's are: the first
sentence, the first ten words, and the summary of the most similar source to train on (TF-IDF of
words). Errors are of a mean over rows.
"""

import re
from collections.abc import Callable

import numpy as np
from absl import flags
from sklearn.feature_extraction.text import TfidfVectorizer

import data
from configs import summary
from train import cli
from train.evaluation import mean_and_error
from train.tasks.translate import rouge_l

AT_ONCE = 256  # sources that are compared with all others


def pairs(dataset: data.Dataset, batch: dict[str, np.ndarray]) -> tuple[list[str], list[str]]:
    """Sources and targets of rows, as they were."""
    decode = dataset.facts["decode"]
    sources = [decode(row[row > 0]) for row in batch["source"]]
    return sources, [decode(row) for row in batch["targets"]]


def first_sentence(source: str) -> str:
    """What stands before the first full stop, question or exclamation mark and space."""
    return re.split(r"(?<=[.!?])\s", source, maxsplit=1)[0]


def first_words(source: str) -> str:
    """Ten of them."""
    return " ".join(source.split()[:10])


def nearest(sources: list[str], others: list[str]) -> np.ndarray:
    """Of each source the place of the most similar other one, [n]."""
    words = TfidfVectorizer(sublinear_tf=True, min_df=2)
    others_MxV, sources_NxV = words.fit_transform(others), words.transform(sources)
    found = [
        (sources_NxV[start : start + AT_ONCE] @ others_MxV.T).toarray().argmax(axis=1)
        for start in range(0, len(sources), AT_ONCE)
    ]
    return np.concatenate(found)


def told(written: list[str], targets: list[str]) -> str:
    """ROUGE-L with its error."""
    scores = np.array([rouge_l(*pair) for pair in zip(written, targets)])
    value, error = mean_and_error(scores, np.ones(len(scores)))
    return f"{value:.4f} +- {error:.4f}"


def main() -> None:
    """Prints all."""
    config = summary.get_config().data.to_dict() | {"evaluation": flags.FLAGS.evaluation}
    try:
        dataset = data.open_dataset(config.pop("name"), config)
    except (ValueError, OSError) as error:
        raise cli.InputError(str(error)) from error
    known, summaries = pairs(dataset, dataset.train_batch(0, 0, dataset.train_rows))
    sources, targets = pairs(dataset, dataset.eval_batch(0, dataset.eval_rows))
    print(f"{dataset.note}; {len(targets):,} rows of the {config['evaluation']} side")
    parts: dict[str, Callable[[str], str]] = {
        "first sentence": first_sentence,
        "first ten words": first_words,
    }
    for name, part in parts.items():
        print(f"{name}: {told(list(map(part, sources)), targets)}", flush=True)
    near = [summaries[place] for place in nearest(sources, known)]
    print(f"summary of the nearest source: {told(near, targets)}")
    print(f"  equal to what is asked for: {np.mean([a == b for a, b in zip(near, targets)]):.4f}")


if __name__ == "__main__":
    flags.DEFINE_enum("evaluation", "test", ["test", "validation"], "Which rows.")
    cli.run_main(main)
