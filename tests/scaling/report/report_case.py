"""A study made up of known numbers, and a reader of the page that tells of it."""

import dataclasses
import hashlib
import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd

from train import record
from train.identity import digest_of
from train.record import Record

LAW = {"E": 1.1, "A": 30.0, "B": 250.0, "alpha": 0.32, "beta": 0.36}
BUDGETS = (1e12, 4e12, 1.6e13, 6.4e13)
EVIL = "<img src=x onerror=alert(1)>"  # no separator: names stay inside their folder


def law_loss(N: float, D: float) -> float:
    return LAW["E"] + LAW["A"] * N ** -LAW["alpha"] + LAW["B"] * D ** -LAW["beta"]


def best_size(C: float) -> float:
    sizes = np.geomspace(1e3, 1e8, 4001)
    return float(sizes[np.argmin(law_loss(sizes, C / 6 / sizes))])


def make_record(name: str, N: float, C: float, noise: float, **changes) -> Record:
    D = C / 6 / N
    loss = law_loss(N, D) * (1 + noise)
    steps = np.arange(10, 1001, 10)
    curve = loss + 3.0 * (steps / 10) ** -0.8 - 3.0 * 100**-0.8
    optimizer = {"name": "adamw", "learning_rate": 3e-3, "weight_decay": 0.1}
    config = {"model": {"name": "gpt"}, "optimizer": optimizer, "batch_size": 8, "steps": 1000}
    values = Record(
        run=name,
        status="ok",
        reason="",
        config=config,
        config_sha256=digest_of(config),
        seed=0,
        N={"embedding": int(N / 10), "body": int(N) - int(N / 10), "head": 0, "total": int(N)},
        D=D,
        unit="token",
        epochs=0.5,
        C={"forward": C, "6nd": C},
        loss=loss,
        loss_se=0.002,
        of_record="loss",
        metrics={"loss": [loss, 0.002], "bits_per_byte": [loss / np.log(2), 0.002 / np.log(2)]},
        curve=[[int(step), float(value)] for step, value in zip(steps, curve)],
        evaluations=[{"step": 1000, "metrics": {"loss": [loss, 0.002]}}],
        data_sha256="d" * 64,
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:01:00+00:00",
        seconds={"total": 60.0, "compile": 5.0, "train": 50.0, "evaluate": 5.0},
        device={"platform": "cpu", "cores": 2},
        versions={"python": "3.11.2", "jax": "0.10.2"},
        revision="abc123",
    )
    return dataclasses.replace(values, **changes)


def planned(result: Record, role: str, budget: float) -> dict:
    shared = ("run", "config", "config_sha256", "N", "D", "C", "epochs", "unit", "seed")
    return {name: getattr(result, name) for name in shared} | {
        "role": role,
        "size": 1,
        "budget": budget,
    }


def make_study(folder, bad_name: str = "diverging") -> None:
    """A finished study: 20 runs to fit, one diverged, one failed, one held out."""
    from scaling.fit.fitting import fit
    from scaling.fit.isoflop import isoflop
    from scaling.forecast import words
    from scaling.forecast.forecasting import forecast
    from scaling.runs.table import fit_rows, read_runs

    rng = np.random.default_rng(0)
    records, roles = [], []
    for C in BUDGETS:
        for factor in np.geomspace(0.25, 4, 5):
            N = best_size(C) * factor
            name = f"fit-c{C:.1e}-n{N:.0f}".replace("+", "")
            records.append((make_record(name, N, C, 0.002 * rng.standard_normal()), C))
    lost = {"loss": None, "loss_se": None, "metrics": {}}
    reasons = {"diverged": "loss is nan at step 31", "failed": "worker died <b>twice</b>"}
    for name, status in ((bad_name, "diverged"), ("crashing", "failed")):
        bad = make_record(name, 2e5, 6.4e13, 0.0, status=status, reason=reasons[status], **lost)
        records.append((bad, 6.4e13))
    roles = ["fit"] * len(records) + ["heldout"]
    held = make_record(
        "heldout-big", best_size(2.56e14), 2.56e14, 0.001, started="2026-01-03T00:00:00+00:00"
    )
    records.append((held, 2.56e14))
    runs = [planned(r, role, budget) for (r, budget), role in zip(records, roles)]
    settings = {"name": "synthetic", "experiment": "configs/gpt.py", "budgets": list(BUDGETS)}
    record.save_json(folder / "plan.json", {"version": 1, "study": settings, "runs": runs})
    for result, _ in records:
        record.save(folder / "runs" / result.run / "record.json", result)
    rows = [
        {"run": r.run, "role": role, "status": r.status, "N": r.N["total"], "D": r.D}
        | {"C": r.C["forward"], "loss": r.loss, "loss_se": r.loss_se, "budget": budget}
        for (r, budget), role in zip(records, roles)
    ]
    pd.DataFrame(rows).to_csv(folder / "runs.csv", index=False)
    table = read_runs(str(folder / "runs.csv"))
    fitted = fit(table, bootstrap=100, starts=32)
    fitted.save(str(folder / "law.json"))
    isoflop(table, bootstrap=100).save(str(folder / "isoflop.json"))
    wanted = {"N": held.N["total"], "D": held.D, "C": held.C["forward"]}
    made = words.to_json(forecast(fit_rows(table), pd.DataFrame([wanted])))
    made["targets"][0]["run"] = held.run
    save_forecast(folder, held, made)


def save_forecast(folder, held: Record, made: dict) -> None:
    """Seals the forecast `made` of one run, and scores it."""
    content = {"version": 1, "created": "2026-01-02T00:00:00+00:00", "runs_sha256": "f" * 64} | made
    # The digest of scaling.forecast.sealing, written down again.
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    record.save_json(folder / "forecast.json", content)
    (target,) = content["targets"]
    median, (low, high) = target["median"], target["interval90"]
    score = {"run": held.run, "status": "ok", "loss": held.loss, "loss_se": held.loss_se}
    score |= {"median": median, "error": median / held.loss - 1}
    score |= {"half_width90": (high - low) / 2 / median}
    score |= {"inside50": True, "inside90": True}
    record.save_json(
        folder / "score.json",
        {"version": 1, "forecast_sha256": content["sha256"], "scores": [score]},
    )


class Page(HTMLParser):
    """Tables, tags and addresses of a page; fails on tags that do not nest."""

    void = frozenset(("meta", "link", "img", "br", "hr", "input"))

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.open, self.rows, self.addresses, self.tags = [], [], [], []
        self.words, self.script = "", ""
        self.feed(path.read_text())
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open or "style" in self.open:
            self.script += data
            return
        self.words += data
        if self.open[-1:] in (["td"], ["th"]):
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        """The last row of the page that begins with `name`; the table of runs is a late one."""
        return [row for row in self.rows if row and row[0] == name][-1]
