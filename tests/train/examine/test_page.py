import base64
import re

import numpy as np
import pytest

from tests import verbs
from tests.train.test_seam import with_toys
from tests.train.toys import config as toy
from train import png, run
from train.examine import page
from train.tasks import Box, Picture, Section, adversarial, classify, detect, match

__all__ = ["with_toys"]  # a fixture of all tests here
RANDOM = np.random.default_rng(0)


def test_a_section_has_its_table_and_pictures_and_no_strangers_markup():
    pixels = np.zeros((4, 8, 3), np.uint8)
    picture = Picture(pixels, "<i>", [Box((1, 0.5, 3, 2), "right", "cat & dog")])
    found = page._section(Section("<b>", "a < b", (("x",), [["<td>"]]), [picture]))
    for mark in ("<b>", "<i>", "<td><td>", "cat & dog", "http"):
        assert mark not in found
    assert '<rect class="right" x="1.0" y="0.5" width="2.00" height="1.50">' in found
    assert 'viewBox="0 0 8 4"' in found
    content = re.search('data:image/png;base64,([^"]+)', found)[1]
    assert base64.b64decode(content) == png.content(pixels)


def test_a_browser_shows_boxes_where_they_are_and_asks_for_nothing(browser_page, tmp_path):
    pixels = np.full((32, 64, 3), 200, np.uint8)
    picture = Picture(pixels, "a scene", [Box((16, 8, 48, 24), "wrong", "dog .9")])
    found = page._section(Section("Scenes", "", (("x",), [["1"]]), [picture]))
    (tmp_path / "page.html").write_text(f"<style>{page._STYLE}</style>{found}")
    asked = []
    browser_page.on("request", lambda request: asked.append(request.url))
    browser_page.goto(f"file://{tmp_path}/page.html")
    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked)
    whole, box = (browser_page.locator(name).bounding_box() for name in ("svg", "svg rect"))
    assert whole["width"] == 2 * whole["height"] >= 192
    assert box["x"] - whole["x"] == pytest.approx(whole["width"] / 4, abs=1.5)
    assert box["y"] - whole["y"] == pytest.approx(whole["height"] / 4, abs=1.5)
    assert box["width"] == pytest.approx(whole["width"] / 2, abs=3)
    assert browser_page.get_by_role("img", name="a scene").count() == 1


def test_a_task_that_draws_nothing_says_so(tmp_path):
    run.run(toy(), tmp_path)
    done = verbs.call("train.examine", f"--workdir={tmp_path}", "--report")
    assert done.returncode == 2
    assert re.fullmatch("error: --report: task '.*' draws nothing.*\n", done.stderr)


def test_classes_and_the_surest_mistakes():
    label = np.array([0, 1, 2, 2])
    chance = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.1, 0.7], [0.1, 0.8, 0.1]])
    facts = {"class_names": ("a", "b", "c"), "pixels": lambda x: x}
    image = RANDOM.integers(0, 256, (4, 2, 2, 1), np.uint8)
    kept = {"label": label, "chance": chance}
    classes, mistakes = classify.show(None, {"image": image}, kept, facts)
    assert classes.table[1] == [["a", "1", "0", "0"], ["b", "1", "0", "0"], ["c", "0", "1", "1"]]
    assert [p.caption for p in mistakes.pictures] == ["3: c, said b 0.80", "1: b, said a 0.60"]
    np.testing.assert_array_equal(mistakes.pictures[0].pixels, image[3])
    facts = {"decode": lambda row: f"text {row[0]}"}
    _, mistakes = classify.show(None, {"tokens": np.arange(4)[:, None]}, kept, facts)
    assert mistakes.table[1] == [[3, "2", "1 0.80", "text 3"], [1, "1", "0 0.60", "text 1"]]


def test_boxes_are_drawn_as_what_they_are():
    kept = {
        "box": np.array([[[0, 0, 10, 10], [20, 20, 30, 30]]], float),
        "label": np.array([[0, 1]]),
        "there": np.array([[1, 1]]),
        "said_box": np.array(
            [[[0, 0, 10, 9], [0, 0, 10, 10], [20, 20, 23, 23], [5, 5, 9, 9]]], float
        ),
        "said_label": np.array([[0, 0, 1, 1]]),
        "score": np.array([[0.9, 0.8, 0.7, detect.SURE / 2]]),
    }
    facts = {"class_names": ("a", "b"), "pixels": lambda x: x}
    config = detect.Config(1.0, 2.0, 0.25, 2.0, 1.0, 4.0, 0.6)
    first, worst = detect.show(config, {"image": np.zeros((1, 32, 32, 3), np.uint8)}, kept, facts)
    # The second is dropped for the first, the third is in the wrong place, the fourth unlikely.
    for (picture,) in (first.pictures, worst.pictures):
        assert picture.caption == "0: b missed, a 0.90, b 0.70 wrong"
        assert [box.kind for box in picture.boxes] == ["there", "there", "right", "wrong"]


def test_nearest_images_and_those_that_were_made():
    eye = np.eye(6).reshape(2, 3, 1, 6)
    z = np.concatenate([eye, eye], axis=2)  # [trials, identities, 2, E]
    z[0, 0, 1], z[0, 1, 1] = z[0, 1, 0], z[0, 0, 0]  # the first two look like each other
    image = RANDOM.integers(0, 256, (2, 3, 2, 4, 4, 3), np.uint8)
    given = {"image": image}, {"embedding": z}, {"pixels": lambda x: x}
    first, wrong = match.show(None, *given)
    assert len(first.pictures) == 6
    assert [p.caption for p in wrong.pictures] == [
        "0: its own is number 2",
        "1: its own is number 2",
    ]
    shown = wrong.pictures[0]
    assert [box.kind for box in shown.boxes[:3]] == ["wrong", "right", "wrong"]
    np.testing.assert_array_equal(shown.pixels[:, 4:8], image[0, 1, 1])
    real, made = RANDOM.integers(0, 256, (2, 5, 4, 4, 1), np.uint8)
    given = {"image": real}, {"image": made.astype(np.float16)}
    sections = adversarial.show(None, *given, {"pixels": lambda x: x.astype(np.uint8)})
    for section, expected in zip(sections, (made, real)):
        np.testing.assert_array_equal([p.pixels for p in section.pictures], expected)
