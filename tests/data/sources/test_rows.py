import gzip
import json

import numpy as np
import pytest

from data.sources import files, rows

TABLE = 'id,label,text\n1,sad,a grey day\n2,glad,"sun, and\nsand"\n\n3,sad,rain\n'


def write(folder, content, name="rows.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"{'jsonl' if '.jsonl' in name else 'csv'}:{path}"


def test_a_table_and_lines_of_json_are_read(tmp_path):
    found = rows.read(write(tmp_path, TABLE), "text")
    assert found.values == ["a grey day", "sun, and\nsand", "rain"]
    assert found.labels.tolist() == [1, 0, 1]
    assert found.class_names == ("glad", "sad")
    packed = write(tmp_path, gzip.compress(b"\xef\xbb\xbf" + TABLE.encode()), "rows.csv.gz")
    assert rows.read(packed, "text").values == found.values
    lines = [
        json.dumps({"text": text, "label": "sad" if label else "glad"})
        for text, label in zip(found.values, found.labels)
    ]
    again = rows.read(write(tmp_path, "\n".join(lines), "rows.jsonl"), "text")
    assert (again.values, again.class_names) == (found.values, found.class_names)
    np.testing.assert_array_equal(again.labels, found.labels)


def test_labels_that_are_all_whole_numbers_are_numbers(tmp_path):
    for label, expected, names in (
        ("7", [7, 0], ()),
        ("-1", [0, 1], ("-1", "0")),
        ("x", [1, 0], ("0", "x")),
    ):
        found = rows.read(write(tmp_path, f"text,label\na,{label}\nb,0\n"), "text")
        assert (found.labels.tolist(), found.class_names) == (expected, names)
    found = rows.read(write(tmp_path, '{"text": "a", "label": 3}\n', "rows.jsonl"), "text")
    assert (found.labels.tolist(), found.class_names) == ([3], ())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "has the columns nothing; allowed: text and label"),
        ("a.csv", "text,class\na,0\n", "has the columns text, class; allowed: text and label"),
        ("a.csv", "text,label\n", r"a\.csv has no rows; allowed: at least one a class"),
        ("a.csv", "text,label\na,0\nb\n", "line 3 has 1 cells; allowed: 2"),
        ("a.csv", "text,label\na,\n", "line 2 has an empty label; allowed: a label"),
        ("a.csv", "text,label\n ,1\n", "line 2 has an empty text; allowed: a text"),
        ("a.csv", b"text,label\n\xff,1\n", r"a\.csv is not a CSV file"),
        ("a.csv", "text,label\n" + "a" * 200_000 + ",1\n", "field larger than field limit"),
        ("a.jsonl", "", r"a\.jsonl has no rows"),
        ("a.jsonl", '{"text": "a"}', r"line 1; allowed: {\"text\": TEXT, \"label\": TEXT or NUMBE"),
        ("a.jsonl", '{"text": "a", "label": true}', "line 1; allowed"),
        ("a.jsonl", '{"text": "a", "label": null}', "line 1; allowed"),
        ("a.jsonl", '{"text": ["a"], "label": 1}', "line 1; allowed"),
        ("a.jsonl", '{"text": "\\ud800", "label": 1}', "line 1 is not UTF-8 text"),
        ("a.jsonl", "[", "line 1 is not JSON"),
    ],
)
def test_what_rows_may_not_hold(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message) as error:
        rows.read(write(tmp_path, content, name), "text")
    assert "\n" not in str(error.value)


def test_a_file_that_is_absent_or_unpacks_to_too_much(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        rows.read(f"csv:{tmp_path}/none.csv", "text")
    source = write(tmp_path, gzip.compress(b"text,label\n" + b"a,0\n" * 10**5), "rows.csv.gz")
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    monkeypatch.setattr(files, "MAX_RATIO", 1)
    with pytest.raises(ValueError, match="has too many bytes; allowed: at most"):
        rows.read(source, "text")


def test_a_class_out_of_range_or_without_a_row():
    def count(labels, train=None, names=()):
        labels = np.array(labels)
        return rows.classes("csv:a", "text", names, labels if train is None else train, labels)

    assert count([0, 1, 2]) == count([2, 1, 0], names=("a", "b", "c")) == 3
    for given, says in (
        (([0, 2],), r"csv:a has no training text of class 1; allowed: labels 0 to 2, each"),
        (([0, 1], np.array([0]), ("a", "b")), r"no training text of class 1 \(b\)"),
        (([0, 2], None, ("a", "b")), "has label 2; allowed: 0 to 1"),
        (([0, -1],), "has label -1; allowed: 0 to 0"),
    ):
        with pytest.raises(ValueError, match=says):
            count(*given)
