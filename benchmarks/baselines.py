"""What a classifier of texts has to beat: TF-IDF and logistic regression, by scikit-learn.

    python -m benchmarks.baselines [--source=vader] [--texts=500,1000,2000,4000,all]

Of the same texts, cleaned and split as those of data `labelled_text`, and of caps on them:
accuracy, macro F1, AUC and nats of the test side, and accuracy by where texts are from. Words and
pairs of words that occur twice; the strength of the regression is chosen by cross-validation.
"""

import warnings

import numpy as np
from absl import flags
from sklearn import exceptions, metrics
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import Pipeline, make_pipeline

import data
from train import cli
from train.evaluation import mean_and_error

LENGTH = 4096  # bytes of a text that are read
OPTIONS = {"tokenizer": "bytes", "length": LENGTH, "evaluation": "test", "eval_rows": 0}
AS_THEY_ARE = {"unicode": "none", "shortest": 0, "longest": 0, "similar": 0.0}


def classifier() -> Pipeline:
    """Of texts; its regression's strength is one of ten from 1e-4 to 1e4, by five folds' loss."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    return make_pipeline(
        words, LogisticRegressionCV(scoring="neg_log_loss", max_iter=500, cv=5, Cs=10)
    )


def texts(dataset: data.Dataset, batch: dict[str, np.ndarray]) -> list[str]:
    """Rows as they were."""
    return [dataset.facts["decode"](row) for row in batch["tokens"]]


def scores(label: np.ndarray, chance: np.ndarray) -> dict[str, tuple[float, float]]:
    """Metrics of chances [n, 2], with errors where they are means over rows."""
    nats = -np.log(np.maximum(chance[np.arange(len(label)), label], 1e-12))
    right = (chance.argmax(axis=1) == label).astype(float)
    ones = np.ones(len(label))
    return {
        "accuracy": mean_and_error(right, ones),
        "macro_f1": (metrics.f1_score(label, chance.argmax(axis=1), average="macro"), np.nan),
        "auc": (metrics.roc_auc_score(label, chance[:, 1]), np.nan),
        "nats": mean_and_error(nats, ones),
    }


def measure(source: str, count: int) -> None:
    """Prints the metrics of one cap."""
    options = OPTIONS | {"source": source, "unique": count, "cleaning": AS_THEY_ARE}
    try:
        dataset = data.open_dataset("labelled_text", options)
    except ValueError as error:
        raise cli.InputError(str(error)) from error
    if dataset.facts["classes"] != 2:
        raise cli.InputError(f"--source: {source!r}; allowed: texts of two classes")
    train, test = (
        dataset.train_batch(0, 0, dataset.train_rows),
        dataset.eval_batch(0, dataset.eval_rows),
    )
    made = classifier()
    with warnings.catch_warnings():
        for kind in (exceptions.ConvergenceWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)
        made.fit(texts(dataset, train), train["label"])
    chance = made.predict_proba(texts(dataset, test))
    found = scores(test["label"], chance)
    told = [
        f"{name} {value:.4f}" + (f" +- {error:.4f}" if np.isfinite(error) else "")
        for name, (value, error) in found.items()
    ]
    print(f"{dataset.train_rows:>6} texts: {', '.join(told)}", flush=True)
    for place, name in enumerate(dataset.facts.get("domain_names", ())):
        own = test["domain"] == place
        value, error = mean_and_error(
            (chance.argmax(axis=1) == test["label"])[own].astype(float), np.ones(own.sum())
        )
        print(f"        {name}: {own.sum()} texts, accuracy {value:.4f} +- {error:.4f}")


def main() -> None:
    """Prints all."""
    for count in flags.FLAGS.texts:
        cap = 0 if count == "all" else int(*cli.numbers("texts", [count]))
        measure(flags.FLAGS.source, cap)


if __name__ == "__main__":
    flags.DEFINE_string("source", "vader", "Of data labelled_text.")
    caps = ["500", "1000", "2000", "4000", "8000", "all"]
    flags.DEFINE_list("texts", caps, "How many to train on.")
    cli.run_main(main)
