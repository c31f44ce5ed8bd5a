"""Seals and scores: what is sealed stays, and what was not forecast is not scored."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from scaling.forecast.scoring import score
from scaling.forecast.sealing import seal
from scaling.runs import plans
from scaling.runs.plans import Plan, PlannedRun
from tests.scaling.forecast.test_forecasting import grid, world
from train import record
from train.account import facts
from train.cli import InputError
from train.identity import digest_of
from train.record import Record


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
        of_record="loss",
        metrics={},
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
    swept(tmp_path, runs)
    named = [(name, "fit") for name in runs.run] + [("big", "heldout")]
    planned = [
        PlannedRun(run=name, role=role, size=1, budget=1.0, **facts(a_record()))
        for name, role in named
    ]
    plans.save(tmp_path / "plan.json", Plan({"name": "s"}, tuple(planned)))
    return tmp_path


def swept(study, runs) -> None:
    """What a sweep leaves of these runs: their records, and a table of them."""
    runs.to_csv(study / "runs.csv", index=False)
    for row in runs.itertuples():
        size = {"N": {"body": 1, "total": row.N}, "D": row.D, "C": {"forward": row.C}}
        made = a_record(row.run, row.status, row.loss, **size)
        record.save(study / "runs" / row.run / "record.json", made)


def test_a_law_of_an_encoder_and_a_decoder_is_sealed(tmp_path):
    depths = np.array(
        [(1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4), (3, 3), (4, 1), (4, 2), (4, 4)]
    )
    N_enc, N_dec = (depths * (12_384, 16_544)).T
    runs = pd.DataFrame({"N": N_enc + N_dec, "D": 1.2e6, "N_enc": N_enc, "N_dec": N_dec})
    noise = 1 + 0.003 * np.cos(np.arange(10))
    runs["loss"] = (2 + 30 * N_enc**-0.15 * N_dec**-0.2) * noise
    runs = runs.assign(C=1.4e7 * runs.N, run=[f"r{i}" for i in range(10)], role="fit", status="ok")
    swept(tmp_path, runs.iloc[:9])
    parts = runs.rename(columns={"N": "total", "N_enc": "encoder", "N_dec": "decoder"})
    planned = []
    for row, N in zip(runs.itertuples(), parts[["total", "encoder", "decoder"]].to_dict("records")):
        account = facts(a_record()) | {"N": N, "D": row.D, "C": {"forward": row.C}}
        role = "heldout" if row.run == "r9" else "fit"
        planned.append(PlannedRun(run=row.run, role=role, size=1, budget=1.0, **account))
    plans.save(tmp_path / "plan.json", Plan({"name": "s"}, tuple(planned)))
    sealed = json.loads(seal(tmp_path, law="encoder_decoder").read_text())
    (target,) = sealed["targets"]
    assert sealed["law"] == "encoder_decoder"
    assert target["median"] == pytest.approx(runs.loss.iloc[9], rel=0.01)
    seal(tmp_path)
    runs.iloc[:9].assign(N_dec=N_dec[:9] + 1).to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(InputError, match="sealed from other runs"):
        seal(tmp_path)


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
    swept(study, runs.drop(index=7))
    shutil.rmtree(study / "runs" / "r7")
    with pytest.raises(InputError, match=r"2 of the runs to fit are missing \(r3: failed\)"):
        seal(study)
    assert not (study / "forecast.json").exists()
    path = seal(study, allow_missing=True)
    assert json.loads(path.read_text())["missing"] == {"r3": "failed", "r7": "not finished"}
    # One that comes to its end later does not enter, and does not break the seal.
    whole.loc[3, ["status", "loss"]] = "ok", 3.0
    swept(study, whole)
    before = path.read_bytes()
    assert seal(study).read_bytes() == before
    record.save(study / "runs" / "big" / "record.json", a_record())
    score(study)


def test_a_run_whose_folder_is_gone_is_missing_whatever_the_table_says(study):
    shutil.rmtree(study / "runs" / "r5")
    with pytest.raises(InputError, match=r"1 of the runs to fit are missing \(r5: not finished\)"):
        seal(study)
    sealed = json.loads(seal(study, allow_missing=True).read_text())
    assert sealed["missing"] == {"r5": "not finished"}


def test_a_table_without_a_run_that_has_ended_carries_no_seal(study):
    runs = pd.read_csv(study / "runs.csv")
    runs.drop(index=5).to_csv(study / "runs.csv", index=False)
    with pytest.raises(InputError, match=r"runs\.csv: run 'r5': missing, but has its record"):
        seal(study, allow_missing=True)


def test_of_two_that_seal_at_once_one_wins(study, monkeypatch):
    from scaling.forecast import sealing

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
    from scaling.forecast import sealing

    path = study / "forecast.json"
    content = json.loads(path.read_text()) | changes
    content.pop("sha256")
    record.save_json(path, content | {"sha256": sealing.digest(content)})


def test_a_seal_that_was_made_anew_is_not_the_one_that_the_run_knows(study):
    from scaling.forecast import sealing

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
    from scaling.forecast import sealing

    seal(study)
    sealing.begin(study, "big")
    late = a_record(started="2001-01-01T00:00:00+00:00")
    record.save(study / "runs" / "big" / "record.json", late)
    (note,) = json.loads(score(study).read_text())["notes"]
    assert "by its clock; but it knew the seal" in note


def test_a_run_that_began_without_the_seal_cannot_say_that_it_knew_it(study):
    from scaling.forecast import sealing

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
    with pytest.raises(InputError, match=r"plan\.json: runs\[0\]\.run: missing"):
        seal(study)
