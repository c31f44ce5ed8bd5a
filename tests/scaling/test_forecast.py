"""Forecasts: right about worlds whose law is known, honest about those they cannot know, sealed."""

import dataclasses
import json

import jax
import numpy as np
import pandas as pd
import pytest

from scaling import repeats
from scaling.forecast import forecast, forecast_by, published, score, seal
from scaling.laws import LAWS
from train import record
from train.cli import InputError
from train.config import digest_of
from train.record import Record

BIG = pd.DataFrame({"N": [2e9, 4e9], "D": [4e10, 8e10]})


def world(N, D, E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37):
    """The true loss; constants as in Besiroglu et al. 2024."""
    return E + A * N**-alpha + B * D**-beta


def grid(noise=0.003, seed=0, budgets=(1e18, 4e18, 16e18, 64e18), sizes=6):
    """An IsoFLOP design with relative noise."""
    rows = []
    for C in budgets:
        for share in np.linspace(-0.7, 0.7, sizes):
            N = 0.1 * C**0.5 * np.exp(share)
            rows.append((N, C / 6 / N, C))
    runs = pd.DataFrame(rows, columns=["N", "D", "C"])
    rng = np.random.default_rng(seed)
    runs["loss"] = world(runs["N"], runs["D"]) * np.exp(noise * rng.standard_normal(len(runs)))
    return runs


def test_noise_free_world_is_forecast_exactly_by_its_own_law():
    made = forecast(grid(noise=0.0), BIG, law="chinchilla")
    np.testing.assert_allclose(made.median, world(BIG["N"], BIG["D"]), rtol=1e-4)
    assert made.law == "chinchilla"
    assert set(made.by_law) == {"chinchilla"}


def test_default_forecast_covers_the_truth_and_knows_its_distance():
    """12 worlds, each covered with chance .9 at both targets together: 3 or fewer misses in 12 has
    chance .974, so 18 of 24 is a bar that an honest interval passes 97 times in 100."""
    inside, narrow = 0, []
    for seed in range(12):
        made = forecast(grid(seed=seed), BIG)
        truth = world(BIG["N"], BIG["D"])
        inside += int(((made.interval90[:, 0] < truth) & (truth < made.interval90[:, 1])).sum())
        narrow.append(np.median(made.half_width90))
    assert inside >= 18
    assert np.median(narrow) < 0.05
    expected = np.log10(6 * BIG["N"] * BIG["D"] / 64e18)
    np.testing.assert_allclose(made.decades, expected, atol=1e-6)
    assert (made.interval50[:, 0] > made.interval90[:, 0]).all()
    assert np.diff(made.half_width90) > 0  # farther is less sure
    assert sum(made.weights.values()) == pytest.approx(1)
    assert any("back-test from" in line for line in made.reasons)


def test_more_noise_makes_wider_intervals():
    widths = [forecast(grid(noise=noise), BIG).half_width90[0] for noise in (0.001, 0.02)]
    assert widths[1] > 1.5 * widths[0]


def test_seed_replicates_set_the_noise():
    """Runs that a law fits well but that scatter by seed at one point are still noisy."""
    runs = pd.concat([grid(noise=0.0).assign(seed=0)] * 3, ignore_index=True)
    runs["seed"] = np.repeat([0, 1, 2], len(runs) // 3)
    quiet = forecast(runs, BIG, law="tied").half_width90[0]
    runs["loss"] *= np.exp(0.02 * np.repeat([-1, 0, 1], len(runs) // 3))
    noisy = forecast(runs, BIG, law="tied").half_width90[0]
    assert noisy > quiet + 0.02


def test_heldout_and_failed_runs_do_not_enter():
    runs = grid().assign(role="fit", status="ok")
    spoilt = runs.iloc[:4].assign(loss=99.0, role="heldout")
    failed = runs.iloc[:4].assign(loss=77.0, status="diverged")
    both = pd.concat([runs, spoilt, failed], ignore_index=True)
    np.testing.assert_array_equal(forecast(runs, BIG).median, forecast(both, BIG).median)


@pytest.mark.parametrize(
    ("runs", "targets", "words"),
    [
        (grid().iloc[:4], BIG, "too few"),
        (grid()[lambda r: r["N"] < r["N"].min() * 1.01], BIG, "too few"),
        (grid(), BIG * [1e6, 1e6], "decades beyond"),
        (grid(noise=0.4), BIG, "interval"),
        (grid(), BIG.assign(N=-1.0), "targets: N"),
        (grid(), BIG.iloc[:0], "targets: 0"),
        (grid(), BIG[["N"]], "no column 'C'|no column 'D'"),
        (grid().drop(columns="loss"), BIG, "loss"),
    ],
)
def test_refuses_in_words(runs, targets, words):
    with pytest.raises(InputError, match=words):
        forecast(runs, targets)


def test_unknown_law_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'chinchilla'"):
        forecast(grid(), BIG, law="chinchila")


def test_warns_where_the_target_differs_in_kind():
    runs = grid().assign(recipe="cosine", epochs=1.0)
    made = forecast(runs, BIG.assign(recipe="constant"))
    assert "recipe: the target has constant" in " ".join(made.warnings)
    same = forecast(runs, BIG.assign(recipe="cosine", epochs=1.0))
    assert not any(w.startswith(("recipe", "epochs")) for w in same.warnings)


def test_undecayed_runs_are_said():
    made = forecast(grid().assign(schedule="constant"), BIG)
    assert any("before their learning rate has decayed" in line for line in made.warnings)
    same = forecast(grid().assign(schedule="constant"), BIG.assign(schedule="constant"), law="tied")
    assert not any("decayed" in line for line in same.warnings)


def test_unique_examples_are_counted():
    runs = grid(noise=0.0, sizes=9)
    runs["U"] = runs["D"] / np.tile([1.0, 3.0, 12.0], 12)
    truth = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37, "RD": 15.0, "RN": 5.0}

    def world_of_few(table):
        with jax.enable_x64(True):
            columns = {k: table[k].to_numpy() for k in "NDU"}
            return np.asarray(LAWS["data_constrained"].form(truth, columns))

    runs["loss"] = world_of_few(runs)
    targets = BIG.assign(U=BIG["D"] / 8)
    made = forecast(runs, targets, law="data_constrained")
    np.testing.assert_allclose(made.median, world_of_few(targets), rtol=2e-3)
    assert not any(line.startswith("epochs") for line in made.warnings)
    with pytest.raises(InputError, match="--unique"):
        forecast(runs, BIG, law="data_constrained")
    # With no law named, that law is taken where the runs identify R, from epochs as from U.
    told = "repeated data: runs pass up to 12.00 times over theirs, targets 8.00; these runs tell"
    by_epochs = [t.assign(epochs=t["D"] / t["U"]).drop(columns="U") for t in (runs, targets)]
    found = forecast(*by_epochs)
    assert found.law == "data_constrained"
    assert any(line.startswith(told) for line in found.reasons)
    np.testing.assert_allclose(found.median, world_of_few(targets), rtol=2e-3)
    fresh = forecast(grid(), targets, law="tied")
    assert any("passes 8.00 times" in line for line in fresh.warnings)
    by_paper = forecast_by(published("hoffmann2022_a3"), targets)
    assert any("passes 8.00 times" in line for line in by_paper.warnings)


def test_targets_alone_that_repeat_are_forecast_on_what_their_data_are_worth():
    made = forecast(grid(noise=0.0), BIG.assign(epochs=8.0))
    R = 15.387756
    worth = BIG["D"] / 8 * (1 + R * (1 - np.exp(-7 / R)))
    np.testing.assert_allclose(made.median, world(BIG["N"], worth), rtol=4e-3)
    assert (made.median > 1.001 * world(BIG["N"], BIG["D"])).all()
    np.testing.assert_array_equal(made.targets["D"], BIG["D"])
    assert any("by Muennighoff et al. 2023 (R = 15.4)" in line for line in made.reasons)
    assert not any(line.startswith("epochs") for line in made.warnings)


def test_what_repeated_data_is_worth():
    runs = pd.DataFrame({"N": 1e6, "D": [50.0, 100.0, 400.0, 1e9], "U": 100.0})
    np.testing.assert_allclose(repeats.passes(runs), [1, 1, 4, 1e7])
    R = 15.0  # 3 more passes are worth 15 (1 - e^-.2), endless ones 15
    expected = [50, 100, 100 + 1500 * (1 - np.exp(-0.2)), 1600]
    np.testing.assert_allclose(repeats.worth(runs, R), expected)
    (said,) = repeats.note(runs)
    assert "2 of the 4 runs pass more than once over their data, up to 10000000.00 times" in said
    unknown = runs.drop(columns="U").assign(epochs=[0.5, np.nan, None, 1.0])
    np.testing.assert_array_equal(repeats.worth(unknown, R), runs["D"])
    known = runs.drop(columns="U").assign(epochs=[0.5, 1, 4, 1e7])
    np.testing.assert_allclose(repeats.worth(known, R), expected)
    assert repeats.note(unknown) == []


def test_published_law_gives_the_paper_s_value_and_no_interval():
    made = forecast_by(published("hoffmann2022_a3"), pd.DataFrame({"N": [7e10], "D": [1.4e12]}))
    by_hand = 1.69 + 406.4 / 7e10**0.34 + 410.7 / 1.4e12**0.28
    np.testing.assert_allclose(made.median, by_hand, rtol=1e-12)
    assert made.interval90 is None
    assert any("no interval" in line for line in made.warnings)


def test_fitted_law_alone_has_an_interval():
    from scaling.fit import fit

    law = fit(grid(), "tied", starts=32, bootstrap=100)
    made = forecast_by(law, BIG)
    np.testing.assert_allclose(made.median, law.predict(BIG["N"].to_numpy(), BIG["D"].to_numpy()))
    truth = world(BIG["N"], BIG["D"]).to_numpy()
    assert ((made.interval90[:, 0] < truth) & (truth < made.interval90[:, 1])).all()


def a_record(run="big", status="ok", loss=2.2, started="2999-01-01T00:00:00+00:00", **changes):
    made = Record(
        run=run,
        status=status,
        reason="" if status == "ok" else "loss is NaN",
        config_sha256=digest_of({}),
        seed=0,
        N={"body": 1, "total": 2_000_000_000},
        D=4e10,
        unit="token",
        epochs=1.0,
        C={"forward": 4.8e20},
        loss=loss if status == "ok" else None,
        loss_se=0.001 if status == "ok" else None,
        bits_per_byte=None,
        curve=[],
        evaluations=[],
        data_sha256="d",
        started=started,
        finished=started,
        revision=None,
        config={},
        seconds={},
        device={},
        versions={},
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture
def study(tmp_path):
    runs = grid()
    runs = runs.assign(run=[f"r{i}" for i in range(len(runs))], role="fit", status="ok", seed=0)
    runs.to_csv(tmp_path / "runs.csv", index=False)
    account = {"N": {"total": 2_000_000_000}, "D": 4e10, "C": {"forward": 4.8e20}, "epochs": 1.0}
    same = account | {"config_sha256": digest_of({}), "data_sha256": "d"}
    planned = [{"run": name, "role": "fit"} | same for name in runs.run]
    planned.append({"run": "big", "role": "heldout"} | same)
    plan = {"version": 2, "study": {}, "runs": planned}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    return tmp_path


def test_seal_is_written_once_and_scored(study):
    path = seal(study)
    first = path.read_bytes()
    sealed = json.loads(first)
    (target,) = sealed["targets"]
    low, high = target["interval90"]
    assert low < target["interval50"][0] < target["median"] < target["interval50"][1] < high
    assert target["run"] == "big"
    assert target["decades"] == pytest.approx(np.log10(4.8e20 / 64e18))
    with pytest.raises(InputError, match="train the held-out run"):
        score(study)
    truth = float(world(2e9, 4e10))
    record.save(study / "runs" / "big" / "record.json", a_record(loss=truth))
    assert seal(study).read_bytes() == first  # the run has started, but the seal stands
    scored = json.loads(score(study).read_text())
    (came_out,) = scored["scores"]
    assert scored["forecast_sha256"] == sealed["sha256"]
    assert came_out["error"] == pytest.approx(target["median"] / truth - 1)
    assert came_out["inside90"] is (low <= truth <= high)
    assert came_out["half_width90"] == pytest.approx((high - low) / 2 / target["median"])


def test_seal_does_not_depend_on_held_out_rows_or_row_order(study):
    seal(study)
    runs = pd.read_csv(study / "runs.csv")
    more = runs.iloc[[0]].assign(run="big", role="heldout", loss=1.0)
    pd.concat([runs[::-1], more]).to_csv(study / "runs.csv", index=False)
    seal(study)
    runs.loc[3, "loss"] *= 1.0001
    runs.to_csv(study / "runs.csv", index=False)
    with pytest.raises(InputError, match="sealed from other runs"):
        seal(study)


def test_no_seal_after_the_run_has_started(study):
    folder = study / "runs" / "big"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with pytest.raises(InputError, match="has started"):
        seal(study)
    assert not (study / "forecast.json").exists()
    # A try that came to no step is no start.
    (folder / "config.json").rename(folder / "attempts.jsonl")
    seal(study)


def test_altered_seal_is_refused(study):
    path = seal(study)
    record.save(study / "runs" / "big" / "record.json", a_record())
    path.write_text(path.read_text().replace('"median": 2', '"median": 3'))
    with pytest.raises(InputError, match="changed after it was sealed"):
        score(study)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"started": "2001-01-01T00:00:00+00:00"}, "before the forecast was sealed"),
        ({"D": 5e10}, "the run that was forecast"),
        ({"C": {"forward": 1e19}}, "the run that was forecast"),
        ({"config": {"steps": 2}, "config_sha256": digest_of({"steps": 2})}, "config_sha256: "),
        ({"data_sha256": "e"}, "data_sha256: e; the run that was forecast has d"),
    ],
)
def test_a_record_that_is_not_what_was_forecast_gets_no_score(study, changes, words):
    seal(study)
    record.save(study / "runs" / "big" / "record.json", a_record(**changes))
    with pytest.raises(InputError, match=words):
        score(study)
    assert not (study / "score.json").exists()


def test_runs_are_missing_unless_they_ended_ok_or_diverged(study):
    runs = pd.read_csv(study / "runs.csv")
    runs.loc[3, ["status", "loss"]] = "failed", np.nan
    runs.loc[4, ["status", "loss"]] = "diverged", np.nan
    whole = runs.copy()
    runs.drop(index=7).to_csv(study / "runs.csv", index=False)
    with pytest.raises(InputError, match=r"2 of the runs to fit are missing \(r3: failed\)"):
        seal(study)
    assert not (study / "forecast.json").exists()
    path = seal(study, allow_missing=True)
    assert json.loads(path.read_text())["missing"] == {"r3": "failed", "r7": "not finished"}
    # One that comes to its end later does not enter, and does not break the seal.
    whole.loc[3, ["status", "loss"]] = "ok", 3.0
    whole.to_csv(study / "runs.csv", index=False)
    before = path.read_bytes()
    assert seal(study).read_bytes() == before
    record.save(study / "runs" / "big" / "record.json", a_record())
    score(study)


def test_of_two_that_seal_at_once_one_wins(study, monkeypatch):
    from scaling import sealing

    first = seal(study).read_bytes()
    (study / "forecast.json").unlink()
    made = sealing._forecast

    def meanwhile(*arguments):
        content = made(*arguments)
        (study / "forecast.json").write_bytes(first)
        return content

    monkeypatch.setattr(sealing, "_forecast", meanwhile)
    assert seal(study).read_bytes() == first
    assert [p.name for p in study.iterdir() if p.name.startswith(".")] == []


def sealed_anew(study, **changes) -> None:
    """What somebody does who has seen the outcome: another content, with a digest that fits."""
    from scaling import sealing

    path = study / "forecast.json"
    content = json.loads(path.read_text()) | changes
    content.pop("sha256")
    record.save_json(path, content | {"sha256": sealing.digest(content)})


def test_a_seal_that_was_made_anew_is_not_the_one_that_the_run_knows(study):
    from scaling import sealing

    seal(study)
    sealing.begin(study, "big")
    record.save(study / "runs" / "big" / "record.json", a_record())
    assert json.loads(score(study).read_text())["notes"] == []
    sealed_anew(study, law="hindsight")
    with pytest.raises(InputError, match=r"seal\.sha256: the run started under the seal"):
        score(study)
    with pytest.raises(InputError, match=r"seal\.sha256: the run started under the seal"):
        sealing.begin(study, "big")


def test_a_seal_of_other_runs_or_of_another_plan_gets_no_score(study):
    seal(study)
    record.save(study / "runs" / "big" / "record.json", a_record())
    for name in ("runs_sha256", "plan_sha256"):
        kept = (study / "forecast.json").read_bytes()
        sealed_anew(study, **{name: "0" * 64})
        with pytest.raises(InputError, match=r"sealed (from other runs|for another plan)"):
            score(study)
        (study / "forecast.json").write_bytes(kept)
    score(study)


def test_a_clock_that_is_behind_only_warns_where_the_run_knew_the_seal(study):
    from scaling import sealing

    seal(study)
    sealing.begin(study, "big")
    late = a_record(started="2001-01-01T00:00:00+00:00")
    record.save(study / "runs" / "big" / "record.json", late)
    (note,) = json.loads(score(study).read_text())["notes"]
    assert "by its clock; but it knew the seal" in note


def test_a_run_that_began_without_the_seal_cannot_say_that_it_knew_it(study):
    from scaling import sealing

    seal(study)
    record.save(study / "runs" / "big" / "record.json", a_record())
    sealing.begin(study, "big")
    assert not (study / "runs" / "big" / "seal.sha256").exists()
    (note,) = json.loads(score(study).read_text())["notes"]
    assert "only clocks say" in note


def test_a_seal_of_version_1_is_still_scored(study):
    path = seal(study)
    values = json.loads(path.read_text())
    old = {k: v for k, v in values.items() if k not in ("plan_sha256", "missing", "sha256")}
    for target in old["targets"]:
        del target["config_sha256"], target["data_sha256"]
    (study / "forecast.json").write_text(json.dumps(old | {"version": 1, "sha256": ""}))
    sealed_anew(study)
    record.save(study / "runs" / "big" / "record.json", a_record())
    assert json.loads(score(study).read_text())["scores"][0]["status"] == "ok"


def test_diverged_held_out_run_is_listed_without_numbers(study):
    seal(study)
    record.save(study / "runs" / "big" / "record.json", a_record(status="diverged"))
    (came_out,) = json.loads(score(study).read_text())["scores"]
    assert came_out["status"] == "diverged"
    assert came_out["loss"] is came_out["error"] is came_out["inside90"] is None


def test_plan_without_held_out_runs_is_refused(study):
    plan = json.loads((study / "plan.json").read_text())
    record.save_json(study / "plan.json", plan | {"runs": plan["runs"][:-1]})
    with pytest.raises(InputError, match="nothing to forecast"):
        seal(study)
    record.save_json(study / "plan.json", plan | {"runs": [{"role": "heldout"}]})
    with pytest.raises(InputError, match=r"plan\.json: runs\[0\]\.\w+: missing"):
        seal(study)
