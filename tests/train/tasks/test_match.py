import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from configs import embedder
from tests.data.test_identities import people  # noqa: F401
from tests.train.devices.meshes import train_on
from train import config as configuration
from train import run
from train.cli import InputError
from train.tasks import match

B, T, E, K = 3, 5, 4, 7


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


RANDOM = np.random.default_rng(0)
Z = unit(RANDOM.normal(size=(B, T, 2, E))).astype(np.float32)
HEAD = unit(RANDOM.normal(size=(K, E))).astype(np.float32)
BATCH = {
    "label": jnp.asarray(RANDOM.permuted(np.tile(np.arange(K), (B, 1)), axis=1)[:, :T], jnp.int32),
    "weight": jnp.asarray([1, 1, 0], jnp.float32),
}


def model(batch):
    return {"embedding": jnp.asarray(Z), "cosine": jnp.asarray(Z @ HEAD.T)}


def scored(objective, margin=0.3, batch=BATCH):
    return match.losses(match.Config(objective, 0.5, margin), model, batch, None)


def queries():
    """Of each trial, way and identity: cosines with the T candidates, and which is right."""
    for b in range(B):
        for way in (0, 1):
            for t in range(T):
                yield b, t, Z[b, :, 1 - way] @ Z[b, t, way]


def test_the_loss_of_record_is_that_of_a_class_among_the_candidates():
    found = scored("contrastive")
    np.testing.assert_array_equal(found.units, [T, T, 0])
    np.testing.assert_array_equal(found.objective, found.sums["loss"])
    nats, first = np.zeros(B), np.zeros(B)
    for b, t, cosines in queries():
        grown = np.exp(cosines.astype(np.float64) / 0.5)
        nats[b] -= np.log(grown[t] / grown.sum()) / 2
        first[b] += (cosines.argmax() == t) / 2
    np.testing.assert_allclose(found.sums["loss"], nats * [1, 1, 0], rtol=1e-5)
    np.testing.assert_allclose(found.sums["top_1"], first * [1, 1, 0])


def test_a_triplet_has_the_semi_hard_negative():
    found, expected = scored("triplet"), np.zeros(B)
    for b, t, cosines in queries():
        distance = 2 - 2 * cosines
        others = np.delete(distance, t)
        further = others[others > distance[t]]
        negative = further.min() if len(further) else others.max()
        expected[b] += max(distance[t] - negative + 0.3, 0) / 2
    np.testing.assert_allclose(found.objective, expected * [1, 1, 0], rtol=1e-4)
    np.testing.assert_array_equal(found.sums["loss"], scored("contrastive").sums["loss"])


def test_arcface_turns_the_angle_to_the_right_identity():
    found, expected = scored("arcface"), np.zeros(B)
    for b in range(B):
        for t, label in enumerate(np.asarray(BATCH["label"])[b]):
            for z in Z[b, t]:
                angle = np.arccos(HEAD @ z)
                assert angle[label] + 0.3 < np.pi
                angle[label] += 0.3
                grown = np.exp(np.cos(angle) / 0.5)
                expected[b] -= np.log(grown[label] / grown.sum()) / 2
    np.testing.assert_allclose(found.objective, expected * [1, 1, 0], rtol=1e-4)
    nobody = scored("arcface", batch=BATCH | {"label": jnp.full((B, T), -1)})
    np.testing.assert_array_equal(nobody.objective, np.zeros(B))


@pytest.mark.parametrize("objective", match.OBJECTIVES)
def test_gradients_are_finite_where_images_are_alike(objective):
    def total(z):
        said = {"embedding": z, "cosine": z @ HEAD.T}
        return match.losses(
            match.Config(objective, 0.1, 0.5), lambda batch: said, BATCH, None
        ).objective.sum()

    same = jnp.broadcast_to(jnp.asarray(HEAD[0]), Z.shape)
    assert np.isfinite(jax.grad(total)(same)).all()


def test_metrics_of_the_whole_set_are_of_all_pairs():
    rng = np.random.default_rng(1)
    base = rng.normal(size=(6, 10, 1, 8))
    z = unit(base + 0.7 * rng.normal(size=(6, 10, 2, 8)))
    found = match.summarise(match.Config("contrastive", 0.1, 0.0), {"embedding": z}, {})
    one, two = z.reshape(60, 2, 8).swapaxes(0, 1)
    cosine = one @ two.T
    order = np.argsort(-np.stack([cosine, cosine.T]), axis=2)
    for k in (1, 5):
        hit = (order[:, :, :k] == np.arange(60)[:, None]).any(2).mean()
        assert found[f"recall_at_{k}"] == pytest.approx(hit)
    wrong = cosine[~np.eye(60, dtype=bool)]
    threshold = np.sort(wrong)[-int(0.01 * len(wrong)) - 1]
    assert found["true_accepts"] == pytest.approx((np.diag(cosine) > threshold).mean(), abs=0.02)
    best = max(
        metrics.balanced_accuracy_score(np.eye(60).ravel(), (cosine >= x).ravel())
        for x in np.diag(cosine)
    )
    assert best - 0.1 < found["verification"] <= best + 0.05
    assert set(found) | {"top_1"} == set(match.RANGE)


def test_who_knows_all_and_who_knows_nothing():
    eye = np.repeat(np.eye(16)[:, None], 2, axis=1)[None]
    config = match.Config("contrastive", 0.1, 0.0)
    assert set(match.summarise(config, {"embedding": eye}, {}).values()) == {1.0}
    same = np.ones((1, 16, 2, 1))
    assert match.summarise(config, {"embedding": same}, {})["verification"] == 0.5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("softmax", 0.1, 0.0), "objective: 'softmax'; allowed: contrastive, triplet, arcface"),
        (("triplet", 0.0, 0.0), "temperature: 0.0; must be in"),
        (("triplet", 0.1, 3.0), "margin: 3.0; must be in"),
    ],
)
def test_what_a_config_cannot_be(given, said):
    with pytest.raises(ValueError, match=said):
        match.Config(*given)


def tiny(source, **changes):
    config = embedder.recipe(4, 6400)
    config.data.update(source=source, trial=4, side=8, unique=16)
    config.model.update(stages=2, stem=0, dimension=8)
    config.update(steps=30, batch_size=4, log_every=1)
    config.update_from_flattened_dict(changes)
    return configuration.resolve(config.to_dict())


@pytest.mark.parametrize(
    "objective",
    ["contrastive", *(pytest.param(o, marks=pytest.mark.slow) for o in ("triplet", "arcface"))],
)
def test_a_run_learns_whose_an_image_is(people, tmp_path, objective):  # noqa: F811
    identities = 16 * (objective == "arcface")
    changes = {"task.objective": objective, "model.identities": identities}
    found = run.run(tiny(people, **changes), tmp_path / "run")
    assert set(found.metrics) == {"loss", *match.RANGE}
    assert found.unit == "pair"
    assert found.D == 30 * 4 * 4
    assert found.N["head"] == 8 * identities
    first, last = (np.mean([x for _, x in part]) for part in (found.curve[:5], found.curve[-5:]))
    assert last < 0.9 * first


def test_a_batch_may_be_taken_in_parts(people, tmp_path):  # noqa: F811
    curves = [
        run.run(tiny(people, steps=3, accumulate=parts), tmp_path / f"{parts}").curve
        for parts in (1, 4)
    ]
    np.testing.assert_allclose(*(np.array([x for _, x in c]) for c in curves), rtol=1e-4)


def test_a_head_must_have_all_identities(people, tmp_path):  # noqa: F811
    with pytest.raises(
        InputError, match=r"config.model.identities: 9; must be 0 \(none\) or at least 16"
    ):
        run.run(tiny(people, **{"model.identities": 9}), tmp_path / "run")


@pytest.mark.slow
def test_any_mesh_gives_the_losses_of_one_device(people):  # noqa: F811
    meshes = ({}, {"data": 4}, {"fsdp": 4}, {"data": 2, "fsdp": 2})
    results = train_on(
        tiny(people, **{"evaluation.batch_size": 4}), *({"mesh": mesh} for mesh in meshes)
    )
    for found in results[1:]:
        assert found["losses"] == pytest.approx(results[0]["losses"], rel=1e-4)
