"""Figures as data, and their two renderings."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from scaling.report.drawing import (
    PALETTE,
    Axis,
    Figure,
    Series,
    log_ticks,
    plotly_script,
    ramp,
    to_html,
)
from scaling.report.drawing_files import to_image

X = (1e12, 3e12, 2e13)
FIGURE = Figure(
    "A title with </script> & $x_",
    Axis("C, FLOPs", log=True),
    Axis("loss", log=True),
    (
        Series("band", X, kind="band", y_low=(2.0, 1.9, 1.7), y_high=(2.2, 2.0, 1.9)),
        Series("line", X, (2.1, 1.95, 1.8), dashed=True),
        Series("runs", X, (2.1, 1.9, 1.8), "points", hover=("a", "<b>b</b>", "c"), shade=0.5),
        Series("runs", X, (2.0, 1.95, 1.82), "points", shade=1.0),
        Series("bars $5", X[:1], (2.0,), "points", y_low=(1.9,), y_high=(2.2,), marker="star"),
        Series("edge", X[1:2], kind="vline", colour=6),
    ),
)


def drawn(figure: Figure) -> dict:
    text = re.search(r'<script type="application/json">(.*?)</script>', to_html(figure))[1]
    return json.loads(text)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.1)."""
    channels = [int(colour[j : j + 2], 16) / 255 for j in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_plotly_accepts_every_kind_of_series():
    graph_objects = pytest.importorskip("plotly.graph_objects")
    spec = drawn(FIGURE)
    checked = graph_objects.Figure(spec)  # raises on a field or a value that plotly does not know
    band, line, runs = checked.data[1], checked.data[2], checked.data[3]
    assert band.fill == "tonexty"
    assert line.line.dash == "dash"
    np.testing.assert_allclose(runs.x, X)
    bars = checked.data[5].error_y
    assert (bars.array[0], bars.arrayminus[0]) == pytest.approx((0.2, 0.1))
    (note,) = checked.layout.annotations
    assert note.x == pytest.approx(np.log10(X[1]))
    assert checked.layout.shapes[0].x0 == X[1]


def test_series_of_one_name_share_one_entry_of_the_legend():
    shown = [trace["name"] for trace in drawn(FIGURE)["data"] if trace["showlegend"]]
    assert sorted(shown) == sorted(["band", "line", "runs", "bars $5"])


def test_texts_cannot_leave_their_place():
    page = to_html(FIGURE)
    assert page.count("</script>") == 1
    assert drawn(FIGURE)["data"][3]["text"][1] == "&lt;b&gt;b&lt;/b&gt;"


def test_a_text_for_all_points_is_given_to_each():
    """On lines plotly shows "-" for one text that is not a list."""
    series = Series("a", (1.0, 2.0, 3.0), (1.0, 2.0, 4.0), hover="50% of %{x} & more")
    (trace,) = drawn(Figure("t", Axis("x"), Axis("y"), (series,)))["data"]
    assert trace["text"] == ["50% of %{x} &amp; more"] * 3
    assert trace["hovertemplate"].startswith("%{text}<br>%{x")


def test_figures_can_be_zoomed_and_kept_but_not_sent_away():
    own = plotly_script().rsplit("<script>", 1)[1]
    assert '[["zoom2d", "pan2d", "resetScale2d", "toImage"]]' in own
    assert "showSendToCloud: false" in own


def test_what_is_not_finite_leaves_a_gap():
    series = Series("a", (1.0, 2.0, 3.0), (1.0, float("nan"), float("inf")))
    figure = Figure("t", Axis("x"), Axis("y"), (series,))
    assert drawn(figure)["data"][0]["y"] == [1.0, None, None]


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_image_is_whole_and_the_same_each_time(tmp_path, kind):
    paths = [tmp_path / f"{name}.{kind}" for name in "ab"]
    for path in paths:
        to_image(FIGURE, path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{kind}", f"b.{kind}"]
    if kind == "svg":
        root = ElementTree.fromstring(first)
        assert root.tag.endswith("svg")
        assert len(root.findall(".//{*}path")) > 10
    else:
        width, height = (int.from_bytes(first[at : at + 4]) for at in (16, 20))
        assert (width, height) == (1100, 680)


def test_names_stand_at_whole_numbers(tmp_path):
    series = Series("a", (0, 1), (1.0, 2.0), "points")
    figure = Figure("t", Axis("", names=("first", "<i>")), Axis("y", percent=True), (series,))
    axis = drawn(figure)["layout"]["xaxis"]
    assert axis["ticktext"] == ["first", "&lt;i&gt;"]
    assert axis["ticklabeloverflow"] == "allow"  # else a narrow figure loses its last name
    to_image(figure, tmp_path / "a.svg")


@pytest.mark.parametrize(
    ("low", "high"), [(1.7, 2.3), (1.01, 1.04), (0.9, 6.5), (3e11, 2e14), (1e3, 1e9), (1e-9, 1e21)]
)
def test_log_axis_has_a_few_round_labels(low, high):
    ticks = log_ticks(low, high)
    assert 3 <= len(ticks) <= 12
    assert all(low <= tick <= high for tick in ticks)
    assert ticks == sorted(set(ticks))
    digits = [f"{tick:.6e}".split("e")[0].replace(".", "").rstrip("0") for tick in ticks]
    assert max(map(len, digits)) <= 4


def test_ramp_grows_lighter_and_stays_visible_on_white_and_on_black():
    light = [luminance(ramp(place)) for place in np.linspace(0, 1, 30)]
    assert light == sorted(light)
    for value in (light[0], light[-1], *map(luminance, PALETTE)):
        assert 1.05 / (value + 0.05) > 2  # against white
        assert (value + 0.05) / (luminance("#15181c") + 0.05) > 2  # against the dark page


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "bars"}, "kind: 'bars'; allowed: "),
        ({"y": (1.0,)}, "y: 1 values for 3 x"),
        ({"kind": "band", "y_low": (1.0, 2.0, 3.0)}, "y_high: 0 values for 3 x"),
    ],
)
def test_series_that_do_not_fit_together_are_refused(change, says):
    with pytest.raises(ValueError, match=f"^{says}"):
        dataclasses.replace(Series("a", X, (1.0, 2.0, 3.0)), **change)
