import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import seq2seq
from tests.models.test_seq2seq import config as of_model
from train.config import Choice
from train.score import bind, score
from train.tasks import translate
from train.tasks.translate import Config

V, S, T, B = 23, 8, 6, 4
MODEL = seq2seq.Model(of_model(vocab_size=V, encoder_layers=1, decoder_layers=2, remat="none"))


def batch() -> dict[str, np.ndarray]:
    """The last row is padding."""
    rng = np.random.default_rng(0)
    source, targets = (rng.integers(2, V, size).astype(np.int32) for size in ((B, S), (B, T)))
    for row, (read, written) in enumerate(((8, 6), (3, 2), (5, 4), (0, 0))):
        source[row, read:] = 0
        targets[row, written:] = 0
        targets[row, written - 1 : written] = 1
    first = np.ones((B, 1), np.int32)
    tokens = np.concatenate([first, np.where(targets > 1, targets, 0)[:, :-1]], axis=1)
    weight = np.array([1, 1, 1, 0], np.float32)
    return {"source": source, "tokens": tokens, "targets": targets, "weight": weight}


@pytest.fixture(scope="module")
def params():
    # Larger than at the start, so that one token is clearly the most probable.
    made = nn.meta.unbox(jax.jit(MODEL.init)(jax.random.key(0), batch()))["params"]
    return jax.tree.map(lambda w: 3 * w if w.ndim > 1 else w, made)


@functools.partial(jax.jit, static_argnums=1)
def losses(params, config: Config):
    key = jax.random.key(0)
    return score(MODEL, Choice("translate", config), params, {}, batch(), key, train=False)[0]


apply = jax.jit(MODEL.apply)


def test_loss_and_accuracy_are_of_target_tokens_alone(params):
    found = losses(params, Config(label_smoothing=0.0))
    log_p = jax.nn.log_softmax(apply({"params": params}, batch()))
    targets = batch()["targets"]
    for row, units in enumerate((6, 2, 4, 0)):
        of_tokens = [log_p[row, t, targets[row, t]] for t in range(units)]
        right = sum(log_p[row, t].argmax() == targets[row, t] for t in range(units))
        assert found.units[row] == units
        assert found.sums["loss"][row] == pytest.approx(-float(sum(of_tokens)), rel=1e-5)
        assert found.sums["accuracy"][row] == right
    np.testing.assert_array_equal(found.objective, found.sums["loss"])


def test_smoothing_is_in_the_objective_and_not_in_the_loss(params):
    plain, smooth = (losses(params, Config(label_smoothing=share)) for share in (0.0, 0.1))
    np.testing.assert_array_equal(plain.sums["loss"], smooth.sums["loss"])
    log_p = jax.nn.log_softmax(apply({"params": params}, batch()))
    real = (batch()["targets"] > 0) * batch()["weight"][:, None]
    even = -jnp.sum(jnp.mean(log_p, axis=-1) * real, axis=1)
    expected = 0.9 * plain.sums["loss"] + 0.1 * even
    np.testing.assert_allclose(smooth.objective, expected, rtol=1e-5)


def test_smoothing_knows_logits_of_no_token():
    """As `vocabulary.unembed` adds where it splits a vocabulary that cannot be split evenly."""
    one = {name: array[:1] for name, array in batch().items()}
    logits = jax.random.normal(jax.random.key(1), (1, T, V))
    padded = jnp.pad(logits, ((0, 0), (0, 0), (0, 3)), constant_values=-1e30)
    a, b = (
        translate.losses(Config(0.1), lambda _, x=x: x, one, jax.random.split(jax.random.key(0), 1))
        for x in (logits, padded)
    )
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), a, b)


def test_translates_token_by_token_as_without_a_cache(params):
    key, rows = jax.random.key(0), jnp.arange(B)

    @jax.jit
    def examine(params, batch):
        model, keys = bind(MODEL, params, {}, key, rows, train=False)
        return translate.examine(Config(0.0), model, batch, keys)

    found = examine(params, batch())
    np.testing.assert_array_equal(found["targets"], batch()["targets"])
    tokens = np.zeros((B, T + 1), np.int32)
    tokens[:, 0] = 1
    for t in range(T):
        logits = apply({"params": params}, batch() | {"tokens": tokens[:, :T]})
        tokens[:, t + 1] = logits[:, t].argmax(-1)
    np.testing.assert_array_equal(found["written"], tokens[:, 1:])
    assert len({tuple(row) for row in found["written"][:3].tolist()}) == 3


TEXTS = ["Le chat est assis sur le tapis.", "Il fait beau aujourd'hui, dit-il.", "Et Job répondit:"]


def rows(written: list[str]) -> dict[str, np.ndarray]:
    """Texts as bytes, with a decoder that reads them."""
    arrays = {}
    for name, texts in (("written", written), ("targets", TEXTS)):
        arrays[name] = np.zeros((len(texts), 60), np.uint8)
        for row, text in zip(arrays[name], texts):
            row[: len(text.encode())] = list(text.encode())
    return arrays


FACTS = {
    "decode": lambda ids: bytes(ids[ids > 0].tolist()).decode(),
    "eval_tokens": 300,
    "eval_bytes": 900,
}


def test_bleu_and_chrf_are_those_of_the_library():
    same = translate.summarise(Config(0.0), rows(TEXTS), FACTS)
    assert same == pytest.approx({"bleu": 100, "chrf": 100, "rouge_l": 1})
    near = ["Le chat est assis sur un tapis.", "Il fait beau, dit-il.", "Job répondit:"]
    found = translate.summarise(Config(0.0), rows(near), FACTS)
    from sacrebleu import corpus_bleu, corpus_chrf

    assert found == {
        "bleu": corpus_bleu(near, [TEXTS]).score,
        "chrf": corpus_chrf(near, [TEXTS]).score,
        "rouge_l": pytest.approx((12 / 14 + 10 / 12 + 6 / 7) / 3),
    }
    assert 10 < found["bleu"] < found["chrf"] < 95
    nothing = translate.summarise(Config(0.0), rows(["", "", ""]), FACTS)
    assert nothing == {"bleu": 0, "chrf": 0, "rouge_l": 0}


def test_rouge_l_is_of_the_longest_common_subsequence():
    """By going through all subsequences; and that of the package where it is installed."""
    rng, scored = np.random.default_rng(0), []
    for _ in range(60):
        a, b = (list(rng.choice(list("abcd"), n)) for n in rng.integers(0, 8, 2))
        of_a, of_b = (
            {part for n in range(len(x) + 1) for part in itertools.combinations(x, n)}
            for x in (a, b)
        )
        common = max(map(len, of_a & of_b))
        f1 = 2 * common / (len(a) + len(b)) if a or b else 0
        scored.append((" ".join(a), " - ".join(b), translate.rouge_l(" ".join(a), " - ".join(b))))
        assert scored[-1][-1] == pytest.approx(f1)
    rouge_score = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = rouge_score.RougeScorer(["rougeL"])
    scored += [(a, b, translate.rouge_l(a, b)) for a in TEXTS for b in (*TEXTS, "Le Chat, 2 x_y")]
    for said, meant, found in scored:
        assert scorer.score(meant, said)["rougeL"].fmeasure == pytest.approx(found)


def test_a_number_says_how_it_was_computed():
    said = translate.signatures()
    assert said["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.")
    assert said["chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.")


def test_what_follows_from_the_loss():
    found = translate.derived(Config(0.0), {"loss": 2.0, "accuracy": 0.5}, FACTS)
    assert found == pytest.approx(
        {"perplexity": np.exp(2), "bits_per_byte": 2 / np.log(2) * 300 / 900}
    )


def test_a_bad_field_is_named():
    with pytest.raises(ValueError, match=r"label_smoothing: 1\.0; must be in \[0, 1\)"):
        Config(label_smoothing=1.0)
