"""Caches, the rules that choose, and the loop, on models of random weights."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import gpt, lstm, moe, seq2seq
from tests.models import test_lstm, test_moe, test_seq2seq
from tests.models.test_gpt import config as of_gpt
from train.generate.rules import Beams, Sampling
from train.generate.writing import Writer, written

V, S = 19, 9
FAMILIES = {
    "gpt": gpt.Model(of_gpt(vocab_size=V, kv_heads=1)),
    # From this capacity on nothing is dropped; else a pass over more tokens drops others.
    "moe": moe.Model(test_moe.config(vocab_size=V, capacity=2.0)),
    "lstm": lstm.Model(test_lstm.config(vocab_size=V)),
    "seq2seq": seq2seq.Model(test_seq2seq.config(vocab_size=V)),
}


def batch(model: nn.Module, L: int = 20, rows: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found = {"tokens": rng.integers(1, V, (rows, L)).astype(np.int32)}
    if isinstance(model, seq2seq.Model):
        found["source"] = rng.integers(1, V, (rows, S)).astype(np.int32)
        found["source"][-1, 4:] = 0
    return found


@functools.cache
def begun(model: nn.Module):
    """Larger than at the start, so that one token is clearly the most probable."""
    made = nn.meta.unbox(jax.jit(model.init)(jax.random.key(1), batch(model, 4)))
    return {"params": jax.tree.map(lambda w: 2 * w if w.ndim > 1 else w, made["params"])}


@functools.cache
def whole(model: nn.Module):
    """The full pass."""
    return jax.jit(model.apply)


def greedy_by_full_passes(model, batch, given, tokens, end=-1):
    """Token after token by a pass over all of them; the log-probability of each row's."""
    found, tokens_RxL = [], np.pad(batch["tokens"], ((0, 0), (0, 1)))
    L, score = batch["tokens"].shape[1], np.zeros(len(given))
    for row, n in enumerate(given):
        own = []
        while len(own) < tokens and n + len(own) <= L and end not in own:
            inputs = batch | {"tokens": tokens_RxL[:, :L]}
            log_p_V = jax.nn.log_softmax(whole(model)(begun(model), inputs)[row, n + len(own) - 1])
            own.append(int(np.argmax(log_p_V)))
            score[row] += float(log_p_V[own[-1]])
            tokens_RxL[row, n + len(own) - 1] = own[-1]
        found.append(own)
    return found, score


def last(*args, **kwargs):
    *_, found = written(*args, **kwargs)
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_written_in_parts_is_what_a_whole_pass_gives(name):
    model = FAMILIES[name]
    asked, parts = batch(model, 8), (3, 3, 1, 1)
    start, step = (jax.jit(functools.partial(model.apply, method=m)) for m in ("begin", "step"))
    memory, found = start(begun(model), asked), []
    for first, size in zip(itertools.accumulate(parts, initial=0), parts):
        tokens = asked["tokens"][:, first : first + size]
        memory, logits = step(begun(model), memory, tokens)
        found.append(logits)
    taught = whole(model)(begun(model), asked)
    np.testing.assert_allclose(np.concatenate(found, axis=1), taught, atol=1e-5)


# Read in chunks of 64, 16 and 4 and by single tokens, as far as the shortest prompt goes; by a gpt
# where there is room in one that goes on, and of a text alone in one of 64.
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("gpt", (75, 80, 74)),
        ("gpt", (3, 14, 1)),
        ("gpt", (31, 20, 25)),
        ("gpt", (60,)),
        ("moe", (12, 3, 7)),
        ("lstm", (12, 14, 15)),
        ("seq2seq", (1, 1, 1)),
    ],
)
def test_greedy_is_the_argmax_of_whole_passes_for_prompts_of_unequal_lengths(name, given):
    model, given = FAMILIES[name], np.array(given, np.int32)
    asked, writer = batch(model, max(20, max(given) + 5)), Writer(model, Sampling(), -1)
    asked = {name: rows[: len(given)] for name, rows in asked.items()}
    found = last(writer, begun(model), asked, given, tokens=5)
    expected, score = greedy_by_full_passes(model, asked, given, tokens=5)
    assert [row.tolist() for row in found.tokens] == expected
    np.testing.assert_allclose(found.score, score, atol=1e-5 * 5)
    assert not found.ended.any()


def test_it_stops_at_the_end_token_at_so_many_and_where_there_is_no_more_room():
    model = FAMILIES["gpt"]
    asked, given = batch(model, 12), np.array([8, 3, 8], np.int32)
    full = last(Writer(model, Sampling(), -1), begun(model), asked, given)
    assert [len(row) for row in full.tokens] == [5, 10, 5]  # the last one is never read
    end = int(full.tokens[1][2])
    writer = Writer(model, Sampling(), end)
    found = last(writer, begun(model), asked, given)
    expected, score = greedy_by_full_passes(model, asked, given, 99, end)
    for row, own, ended in zip(found.tokens, expected, found.ended):
        assert ended == (end in own)
        assert row.tolist() == own[: len(own) - ended]
    assert found.ended[1]
    np.testing.assert_allclose(found.score, score, atol=1e-4)
    few = last(writer, begun(model), asked, given, tokens=2)
    assert [row.tolist() for row in few.tokens] == [
        [t for t in own[:2] if t != end] for own in expected
    ]


def test_parts_come_as_they_are_written_and_nothing_is_compiled_twice():
    model = FAMILIES["gpt"]
    writer, given = Writer(model, Sampling(), -1), np.array([3], np.int32)
    asked = batch(model, 60, rows=1)
    parts = list(written(writer, begun(model), asked, given, tokens=40))
    assert [len(part.tokens[0]) for part in parts] == [1, 17, 33, 40]
    compiled = Writer.write._cache_size()
    longer = np.array([50], np.int32)
    assert list(written(writer, begun(model), asked, longer, tokens=7, seed=1))
    assert Writer.write._cache_size() == compiled


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Sampling(1.0), [0.4, 0.3, 0.2, 0.1]),
        (Sampling(0.5), [16 / 30, 9 / 30, 4 / 30, 1 / 30]),
        (Sampling(1.0, top_k=2), [4 / 7, 3 / 7, 0, 0]),
        (Sampling(1.0, top_k=9), [0.4, 0.3, 0.2, 0.1]),
        (Sampling(1.0, top_p=0.3), [1, 0, 0, 0]),
        (Sampling(1.0, top_p=0.75), [4 / 9, 3 / 9, 2 / 9, 0]),
        # Of the two that are left the first is .57 of all.
        (Sampling(1.0, top_k=2, top_p=0.5), [1, 0, 0, 0]),
        (Sampling(0.5, top_p=0.6), [16 / 25, 9 / 25, 0, 0]),
    ],
    ids=repr,
)
def test_probabilities_equal_those_by_hand(rule, expected):
    order = np.array([2, 0, 3, 1])
    logits = np.log([0.4, 0.3, 0.2, 0.1])[order][None] + 7
    p = jax.nn.softmax(rule.kept(jnp.asarray(logits, jnp.float32)))[0]
    np.testing.assert_allclose(p, np.array(expected)[order], atol=1e-6)


def test_the_same_seed_draws_the_same_text_alone_or_among_others():
    model = FAMILIES["lstm"]
    asked, given = batch(model, 40), np.array([5, 9, 5], np.int32)
    writer = Writer(model, Sampling(1.0, top_k=7), -1)

    def draw(rows=3, **kwargs):
        of = {name: x[:rows] for name, x in asked.items()}
        found = last(writer, begun(model), of, given[:rows], tokens=30, **kwargs)
        return [row.tolist() for row in found.tokens]

    first = draw(seed=1)
    assert draw(seed=1) == first
    assert draw(1, seed=1) == first[:1]
    assert all(a != b for a, b in zip(draw(seed=2), first))
    asked["tokens"][2], given[2] = asked["tokens"][0], given[0]
    again = draw(seed=1)
    assert again[0] != again[2]  # the same prompt, drawn for twice


def test_one_beam_is_greedy_and_more_score_no_worse():
    model = FAMILIES["lstm"]
    asked, given, end = batch(model, 9), np.array([1, 4, 2], np.int32), 3
    greedy, *beams = (
        last(Writer(model, rule, end), begun(model), asked, given)
        for rule in (Sampling(), Beams(1, 0.6), Beams(4, 0.0))
    )
    assert [row.tolist() for row in beams[0].tokens] == [row.tolist() for row in greedy.tokens]
    np.testing.assert_allclose(beams[0].score, greedy.score, atol=1e-5)
    assert np.all(beams[1].score >= greedy.score - 1e-5)
    assert np.any(beams[1].score > greedy.score + 1e-3)


@pytest.mark.parametrize(
    ("model", "read", "penalty"),
    [
        (lstm.Model(test_lstm.config(vocab_size=4)), {}, 0.0),
        (seq2seq.Model(test_seq2seq.config(vocab_size=4)), {"source": np.array([[3, 1]])}, 2.0),
    ],
    ids=["lstm", "seq2seq"],
)
def test_as_many_beams_as_there_are_texts_find_the_best_of_all(model, read, penalty):
    V, T, end = 4, 3, 2
    rule = Beams(V ** (T - 1), penalty)
    asked = read | {"tokens": np.array([[1, 0, 0]], np.int32)}
    found = last(Writer(model, rule, end), begun(model), asked, np.array([1]))
    best = {}
    for text in itertools.product(range(V), repeat=T):
        length = text.index(end) + 1 if end in text else T
        inputs = read | {"tokens": np.array([[1, *text[:-1]]], np.int32)}
        log_p = jax.nn.log_softmax(whole(model)(begun(model), inputs)[0])
        score = float(sum(log_p[t, text[t]] for t in range(length)))
        best[text[:length]] = score / ((5 + length) / 6) ** penalty
    expected = max(best, key=best.get)
    assert (*found.tokens[0].tolist(), *[end] * int(found.ended[0])) == expected
    n = len(expected)
    assert found.score[0] / ((5 + n) / 6) ** penalty == pytest.approx(best[expected], abs=1e-5)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Sampling(-1.0), "temperature: -1.0; allowed: 0, or"),
        (lambda: Sampling(1.0, top_k=-1), "top_k: -1; allowed: 0"),
        (lambda: Sampling(1.0, top_p=0.0), "top_p: 0.0; allowed: above 0"),
        (lambda: Sampling(float("nan")), "temperature: nan"),
        (lambda: Sampling(top_p=0.9), "top_p: 0.9; nothing is drawn at temperature 0"),
        (lambda: Beams(65), "beams: 65; allowed: 1 to 64"),
        (lambda: Beams(2, -1.0), "length_penalty: -1.0; allowed: 0 to 10"),
    ],
)
def test_a_bad_rule_is_named(make, says):
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        make()
