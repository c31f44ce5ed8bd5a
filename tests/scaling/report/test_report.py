"""The report of a study whose every number is known, since it is made up here."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from scaling import report
from scaling.report import curves, files, findings, outlook
from tests import verbs
from tests.scaling.report.report_case import EVIL, Page
from train import record
from train.cli import InputError
from train.identity import digest_of

# They share one study.
pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture(scope="module")
def finished(known_study):
    """A finished study with its report; never changed by a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scaling.report.frontier.POINTS", 6)
        return known_study, report.write(known_study)


@pytest.fixture(scope="module")
def found(finished):
    """The finished study, what its report found, and its figures."""
    study = files.read(finished[0])
    what = findings.find(study)
    return study, what, curves.figures(study, what)


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished study's files, free to be changed."""
    shutil.copytree(
        finished[0], tmp_path / "study", ignore=shutil.ignore_patterns("*.svg", "*.png")
    )
    return tmp_path / "study"


@pytest.fixture
def quick(monkeypatch):
    """Leaves out what takes long and is tested on the finished report: pictures, outlook."""
    monkeypatch.setattr("scaling.report.page.to_image", lambda figure, *paths: None)
    monkeypatch.setattr(
        "scaling.report.outlook.look", lambda study, refused="": outlook.Outlook(refused)
    )
    monkeypatch.setattr("scaling.report.frontier.POINTS", 3)


def test_page_asks_nothing_of_the_outside(finished):
    page = Page(finished[1])
    assert page.addresses
    assert all(re.fullmatch(r"figures/\w+\.(png|svg)", address) for address in page.addresses)
    assert not {"link", "iframe", "img", "object", "base"} & set(page.tags)
    style = finished[1].read_text().split("<style>")[1].split("</style>")[0]
    assert "@import" not in style
    assert "url(" not in style
    assert page.script.count("plotly.js v") == 1


def test_every_linked_figure_is_there(finished):
    folder, path = finished
    for address in Page(path).addresses:
        data = (folder / address).read_bytes()
        assert data.startswith(b"\x89PNG" if address.endswith("png") else b"<?xml")


def test_numbers_of_the_table_are_those_of_the_records(finished):
    folder, path = finished
    page = Page(path)
    found = [record.load(file) for file in (folder / "runs").glob("fit-*/record.json")]
    assert len(found) == 20
    for run in found:
        row = page.row(run.run)
        assert float(row[6]) == pytest.approx(run.loss, rel=1e-4)
        assert float(row[7]) == run.loss_se
        assert float(row[8]) == pytest.approx(run.metrics["bits_per_byte"][0], rel=1e-4)
        assert row[11] == "1,000"
        assert row[-1] == run.config_sha256[:8]


def test_headline_tells_forecast_and_outcome(finished):
    folder, path = finished
    (target,) = json.loads((folder / "forecast.json").read_text())["targets"]
    (score,) = json.loads((folder / "score.json").read_text())["scores"]
    words = Page(path).words
    side = "too high" if score["error"] > 0 else "too low"
    for number in (target["median"], score["loss"], *target["interval90"]):
        assert f"{number:.3f}" in words
    assert f"{100 * abs(score['error']):.2f}% {side}" in words
    assert "lies inside its 90% interval" in words


def test_parameters_and_warnings_are_those_of_the_law(finished):
    folder, path = finished
    law, page = json.loads((folder / "law.json").read_text()), Page(path)
    for name, value in law["params"].items():
        shown = [float(text) for text in page.row(name)[1:4]]
        assert shown == pytest.approx([value, *law["intervals"][name]], rel=1e-3)
    for warning in law["diagnostics"]["warnings"]:
        assert warning in page.words


def test_a_seal_that_holds_is_said_to(finished):
    words = Page(finished[1]).words
    assert "The seal holds: the content has this digest" in words
    assert "the held-out run started 24 h 0 min after it was sealed" in words


def test_a_broken_seal_is_told(copy, quick):
    path = copy / "forecast.json"
    values = json.loads(path.read_text())
    values["targets"][0]["median"] *= 1.001
    record.save_json(path, values)
    words = Page(report.write(copy)).words
    assert "the seal is broken: forecast.json was changed after it was sealed" in words
    assert "The seal holds" not in words


def test_a_run_that_started_before_the_seal_is_told(copy, quick):
    path = copy / "runs" / "heldout-big" / "record.json"
    record.save_json(path, json.loads(path.read_text()) | {"started": "2026-01-01T23:59:59+00:00"})
    words = Page(report.write(copy)).words
    assert "heldout-big started 2026-01-01T23:59:59+00:00, before the forecast was sealed" in words
    assert "The seal holds" not in words
    assert "the seal is broken" not in words


def test_a_start_that_is_no_time_leaves_the_order_open(copy, quick):
    path = copy / "runs" / "heldout-big" / "record.json"
    record.save_json(path, json.loads(path.read_text()) | {"started": "yesterday"})
    words = Page(report.write(copy)).words
    assert "whether the forecast was sealed before heldout-big started is not known" in words
    # A time without a zone is one in UTC.
    record.save_json(path, json.loads(path.read_text()) | {"started": "2026-01-02T02:00:00"})
    assert "started 2 h 0 min after it was sealed" in Page(report.write(copy)).words


def test_best_sizes_have_the_bands_of_both_approaches(found):
    study, _, figures = found
    drawn = figures["optimal_N"].series
    bands = {series.name: series for series in drawn if series.kind == "band"}
    assert set(bands) == {"90% band, approach 2", "90% band, approach 3"}
    three = bands["90% band, approach 3"]
    for C, low, high in zip(three.x, three.y_low, three.y_high):
        ends = study.fit.allocate(C)["intervals"]["N"]
        assert (low, high) == pytest.approx(ends, rel=1e-6)


def test_a_strangers_text_stays_text(finished):
    page = Page(finished[1])
    html = finished[1].read_text()
    assert EVIL in page.words
    assert EVIL not in html
    assert "worker died <b>twice</b>" in page.words
    assert "<b>twice" not in html
    # Only ours: library, drawing, sorting, one block of data a figure.
    assert page.tags.count("script") == 3 + html.count('<div class="figure"')


def test_failed_runs_stand_out_with_their_reason(finished):
    html = finished[1].read_text()
    rows = re.findall(r'<tr class="bad">.*?</tr>', html)
    assert len(rows) == 2
    assert "diverged: loss is nan at step 31" in rows[0]
    assert "failed: worker died" in rows[1]


@pytest.mark.parametrize("keep", ["plan", "isoflop", "law", "forecast"])
def test_half_way_says_what_is_not_there(copy, quick, keep):
    order = ["plan", "isoflop", "law", "forecast", "score"]
    for name in order[order.index(keep) + 1 :]:
        (copy / f"{name}.json").unlink()
    shutil.rmtree(copy / "runs" / "heldout-big")
    page = Page(report.write(copy))
    assert "22 of 23 runs have ended" in page.words
    assert page.row("heldout-big")[2] == "not finished"
    for name in order[order.index(keep) + 1 :]:
        assert f"({name}.json)" in page.words
    assert ("The outcome is not there yet." in page.words) == (keep == "forecast")


def test_a_plan_alone_gives_a_page(copy, quick):
    for path in (*copy.glob("*.csv"), *(p for p in copy.glob("*.json") if p.name != "plan.json")):
        path.unlink()
    shutil.rmtree(copy / "runs")
    assert "0 of 23 runs have ended" in Page(report.write(copy)).words


def test_runs_of_different_versions_are_told(copy, quick):
    path = copy / "runs" / "heldout-big" / "record.json"
    values = json.loads(path.read_text())
    values["versions"]["jax"] = "0.12.0"
    record.save_json(path, values)
    words = Page(report.write(copy)).words
    assert "the runs differ in versions: jax: 0.10.2 in 22 runs; 0.12.0 in 1 runs" in words


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("runs/heldout-big/record.json", "{", "not JSON"),
        ("runs/heldout-big/record.json", {"loss": "low"}, "loss"),
        ("runs/heldout-big/record.json", {"curve": [[1, "x"]]}, "curve"),
        ("runs/heldout-big/record.json", {"seconds": {"total": "long"}}, "seconds.total"),
        ("runs/heldout-big/record.json", {"N": {}}, "N.total"),
        ("plan.json", {"runs": []}, "runs"),
        ("plan.json", {"version": 7}, "version"),
        ("forecast.json", {"targets": [{"run": "a"}]}, "by_law"),
        ("score.json", {"scores": [{"run": "a", "status": "ok", "loss": "x"}]}, "loss"),
        ("law.json", {"params": 3}, "law.json"),
        ("isoflop.json", {"budgets": 3}, "isoflop.json"),
    ],
)
def test_broken_file_is_named(copy, quick, file, change, told):
    path = copy / file
    text = change
    if isinstance(change, dict):
        text = json.dumps(json.loads(path.read_text()) | change)
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        report.write(copy)
    assert str(path) in str(raised.value)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("cut", "told"),
    [
        (lambda text: text[: text.index("fit-", 2000)], "missing, but has its record.json"),
        (lambda text: text[:-300].rstrip("0123456789."), "scaling.sweep writes the table anew"),
        (lambda text: text.replace("loss", "lost", 1), "has no column 'loss'"),
        (lambda text: text.replace("fit-", "other-", 1), "not in plan.json"),
    ],
)
def test_a_table_that_was_cut_or_is_another_studys_is_named(copy, quick, cut, told):
    path = copy / "runs.csv"
    path.write_text(cut(path.read_text()))
    with pytest.raises(InputError, match=told) as raised:
        report.write(copy)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_plan_of_another_study_is_named(copy, quick):
    path = copy / "plan.json"
    plan = json.loads(path.read_text())
    first = plan["runs"][0]
    first["config"] |= {"steps": 7}
    first["config_sha256"] = digest_of(first["config"])
    record.save_json(path, plan)
    with pytest.raises(
        InputError, match=r"not the run that is planned: config\.steps: 1000, not 7"
    ):
        report.write(copy)
    for foreign in ({"runs": [{"run": "a", "N": 3}]}, {"study": "a name"}):
        record.save_json(path, plan | foreign)
        with pytest.raises(InputError, match=r"plan\.json: .*(missing|must be an object)"):
            report.write(copy)


def test_missing_plan_and_runs_outside_the_study_are_refused(copy, quick, tmp_path):
    plan = json.loads((copy / "plan.json").read_text())
    plan["runs"][0]["run"] = "../../elsewhere"
    record.save_json(copy / "plan.json", plan)
    with pytest.raises(InputError, match="stays inside"):
        report.write(copy)
    with pytest.raises(InputError, match=r"plan\.json: no such file"):
        report.write(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("law", "wanted"),
    [
        ("chinchilla", {"loss_by_size", "loss_by_budget", "frontier", "contours"}),
        ("power_floor", {"law"}),
        ("tied", {"loss_by_size", "loss_by_budget", "frontier", "contours"}),
    ],
)
def test_fit_page(finished, quick, tmp_path, law, wanted):
    from scaling.fit.fitting import fit
    from scaling.runs.table import read_runs

    runs = read_runs(str(finished[0] / "runs.csv"))
    fitted = fit(runs, law=law, bootstrap=30, starts=32)
    page = Page(report.write_fit_page(fitted, runs, tmp_path / "fit.html"))
    wanted = {"predicted", "residuals", "residuals_by_N", "residuals_by_D"} | wanted
    assert {address.split("/")[1].split(".")[0] for address in page.addresses} == wanted
    assert float(page.row("E")[1]) == pytest.approx(fitted.params["E"], rel=1e-3)


def test_fit_page_moves_runs_to_the_line_by_their_residual(finished):
    """The distance of a point from its line is the run's residual, whichever line that is."""
    from scaling.fit.fitting import fit
    from scaling.report import fit_page
    from scaling.runs.table import read_runs

    runs = read_runs(str(finished[0] / "runs.csv"))
    fitted = fit(runs, bootstrap=0, starts=32)
    series = fit_page.figures(fitted, runs)["loss_by_size"].series
    shown = []
    for line, points in zip(series[::2], series[1::2]):
        at = np.exp(np.interp(np.log(points.x), np.log(line.x), np.log(line.y)))
        shown += list(np.log(points.y / at))
    true = np.log(runs["loss"] / fitted.predict(runs["N"], runs["D"]))
    np.testing.assert_allclose(sorted(shown), sorted(true), atol=2e-4)


_ON_THE_FIRST_LINE = """f => {
  const line = f._fullData[0], box = f.getBoundingClientRect();
  const at = Math.floor(line.x.length * 3 / 8);
  const {xaxis, yaxis} = f._fullLayout;
  return [box.x + xaxis._offset + xaxis.c2p(xaxis.d2c(line.x[at])),
          box.y + yaxis._offset + yaxis.c2p(yaxis.d2c(line.y[at]))];
}"""


def test_in_a_browser(finished, browser_page):
    """No complaint, no request, all figures drawn, a tooltip on hover, a table that sorts."""
    told, asked = [], []
    browser_page.on("console", lambda message: told.append(message.text))
    browser_page.on("pageerror", lambda error: told.append(str(error)))
    browser_page.on("dialog", lambda dialog: told.append(dialog.message))
    browser_page.on("request", lambda request: asked.append(request.url))
    browser_page.goto(finished[1].as_uri())
    browser_page.wait_for_function(
        "document.querySelectorAll('.figure .main-svg').length > 0 &&"
        "[...document.querySelectorAll('.figure')].every(f => f.querySelector('.xaxislayer-above'))"
    )
    browser_page.wait_for_timeout(500)
    points = browser_page.locator(".figure").first.locator(".points path.point")
    box = points.last.bounding_box()
    browser_page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    tooltip = browser_page.locator(".figure .hoverlayer .hovertext").first
    tooltip.wait_for(timeout=5000)
    assert "heldout-big" in tooltip.text_content()
    buttons = browser_page.locator(".figure").first.locator(".modebar-btn")
    names = [buttons.nth(i).get_attribute("data-title") for i in range(buttons.count())]
    assert names == ["Zoom", "Pan", "Reset axes", "Download plot as a PNG"]
    place = browser_page.locator(".figure[aria-label='Loss at each budget against size']")
    place.scroll_into_view_if_needed()
    at = place.evaluate(_ON_THE_FIRST_LINE)
    browser_page.mouse.move(*at, steps=4)
    tooltip = place.locator(".hoverlayer .hovertext").first
    tooltip.wait_for(timeout=5000)
    # The parabola and the law lie on one another here.
    assert re.match("(parabola of|the law chinchilla at) C = ", tooltip.text_content())
    heading = browser_page.locator("table.sortable th", has_text="loss")
    for wanted in ("ascending", "descending"):
        heading.click()
        assert heading.get_attribute("aria-sort") == wanted
        cells = "[...document.querySelectorAll('table.sortable tbody tr')].map(r => r.cells[6])"
        shown = browser_page.evaluate(f"{cells}.map(c => c.textContent)")
        losses = [float(text) for text in shown if text != "–"]
        assert len(losses) == 21
        assert losses == sorted(losses, reverse=wanted == "descending")
    assert told == []
    assert asked == [finished[1].as_uri()]


def test_from_the_command_line(copy):
    """One line and exit code 2 for bad input; its --help, of tests/train, needs nothing heavy."""
    (copy / "plan.json").write_text("[]")
    bad = verbs.call("scaling.report", f"--workdir={copy}")
    assert (bad.returncode, bad.stderr.count("\n")) == (2, 1)
    assert "plan.json" in bad.stderr
    light = (
        "import scaling.report.__main__, sys; print({'jax', 'pandas', 'plotly'} & {*sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", light], capture_output=True, text=True)
    assert loaded.stdout.strip() == "set()"
