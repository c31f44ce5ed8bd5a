import hashlib

import numpy as np
import pandas
import pytest
from sklearn.datasets import load_diabetes

import data
from data import table


@pytest.fixture
def diabetes(tmp_path, spectrum_options):
    """The options of the diabetes table as a CSV file, and the table."""
    frame = load_diabetes(as_frame=True, scaled=False).frame
    frame.to_csv(tmp_path / "diabetes.csv", index=False)
    changes = {"source": f"csv:{tmp_path}/diabetes.csv", "target": "target"}
    return spectrum_options | changes | {"features": 0, "eval_examples": 0}, frame


def rows(dataset):
    train = dataset.train_batch(0, 0, dataset.train_rows)
    held_out = dataset.eval_batch(0, dataset.eval_rows)
    return train, held_out


def test_a_real_table_is_split_and_standardised(diabetes):
    options, frame = diabetes
    dataset = data.open_dataset("regression", options)
    assert dataset.train_rows + dataset.eval_rows == len(frame) == 442
    assert 0.12 < dataset.eval_rows / 442 < 0.28
    train, held_out = rows(dataset)
    assert train["x"].shape[1] == 10
    for values in (*train["x"].T, train["y"]):
        assert values.mean() == pytest.approx(0, abs=1e-5)
        assert values.std() == pytest.approx(1, abs=1e-5)
    # The same numbers as the table's, up to order, scale and shift.
    column = np.concatenate([train["x"][:, 2], held_out["x"][:, 2]])
    original = np.sort(frame["bmi"])
    assert np.corrcoef(np.sort(column), original)[0, 1] == pytest.approx(1)
    # Ordinary least squares explains about half of the variance of this table (R^2 = .52).
    weights = np.linalg.lstsq(train["x"], train["y"], rcond=None)[0]
    assert ((train["y"] - train["x"] @ weights) ** 2).mean() == pytest.approx(0.48, abs=0.05)


def test_the_split_follows_the_row_not_its_place(diabetes, tmp_path):
    options, frame = diabetes
    shuffled = pandas.concat([frame, frame.iloc[:40]]).sample(frac=1, random_state=0)
    shuffled.to_csv(tmp_path / "shuffled.csv", index=False)
    before = data.open_dataset("regression", options)
    after = data.open_dataset("regression", options | {"source": f"csv:{tmp_path}/shuffled.csv"})
    copies = after.train_rows + after.eval_rows - 442
    assert copies == 40
    assert len(np.unique(rows(after)[1]["x"], axis=0)) == before.eval_rows


def test_columns_and_evaluation_can_be_cut(diabetes):
    options, _ = diabetes
    dataset = data.open_dataset("regression", options | {"features": 3, "eval_examples": 20})
    assert dataset.train_batch(0, 0, 5)["x"].shape == (5, 3)
    assert dataset.eval_rows == 20
    assert dataset.digest != data.open_dataset("regression", options).digest


def test_a_constant_column_is_zero_and_a_constant_target_is_refused(diabetes, tmp_path):
    options, frame = diabetes
    frame.assign(bmi=7.0).to_csv(tmp_path / "constant.csv", index=False)
    options = options | {"source": f"csv:{tmp_path}/constant.csv"}
    assert not data.open_dataset("regression", options).train_batch(0, 0, 9)["x"][:, 2].any()
    with pytest.raises(ValueError, match="'bmi' is constant"):
        data.open_dataset("regression", options | {"target": "bmi"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n3,oak\n", "line 3 column 'b': 'oak'; allowed: a finite number"),
        (b"a,b\n1,\n", "line 2 column 'b': ''"),
        (b"a,b\n1,nan\n", "line 2 column 'b': 'nan'"),
        (
            b"a,b\n1,1e300\n",
            "line 2 column 'b': '1e300'; allowed: a finite number of at most 3.4e+38",
        ),
        (b"a,b\n1,2,3\n", "line 2 has 3 cells; allowed: 2"),
        (b"a,a\n1,2\n", "a header of distinct names"),
        (b"", "a header of distinct names"),
        (b"a,c\n1,2\n", "data.target: 'b'; allowed: a, c"),
        (b"b\n1\n2\n", "data.features"),
        (b"a,b\n1,2\n", "1 rows; allowed: enough"),
        (b"a,b\n\xff,2\n", "is not a CSV file"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, spectrum_options, content, message):
    (tmp_path / "bad.csv").write_bytes(content)
    options = spectrum_options | {"source": f"csv:{tmp_path}/bad.csv", "target": "b", "features": 0}
    with pytest.raises(ValueError, match="data") as caught:
        data.open_dataset("regression", options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_refused(tmp_path, spectrum_options):
    with pytest.raises(FileNotFoundError, match=r"none\.csv; there is no such file"):
        data.open_dataset("regression", spectrum_options | {"source": f"csv:{tmp_path}/none.csv"})


def write_table(path, column, target):
    pandas.DataFrame({"a": column, "b": target}).to_csv(path, index=False)


def test_small_and_large_columns_are_standardised(tmp_path, spectrum_options):
    random = np.random.default_rng(0)
    column, target = random.normal(size=(2, 100))
    for scale in (1e-300, 1e-30, 1e30):
        write_table(tmp_path / "t.csv", column * scale, target)
        changes = {"source": f"csv:{tmp_path}/t.csv", "target": "b", "features": 0}
        dataset = data.open_dataset("regression", spectrum_options | changes)
        found = dataset.train_batch(0, 0, dataset.train_rows)["x"]
        assert found.mean() == pytest.approx(0, abs=1e-5)
        assert found.std() == pytest.approx(1, abs=1e-5)


def test_a_number_too_far_from_the_training_rows_is_refused(tmp_path, spectrum_options):
    column, target = np.random.default_rng(0).normal(size=(2, 100)) * 1e-5

    def held_out(value):
        row = np.array([value, target[60]])
        return hashlib.sha256(row.tobytes()).digest()[0] < table.EVAL_SHARE * 256

    column[60] = next(value for value in np.linspace(1e38, 3e38, 100) if held_out(value))
    write_table(tmp_path / "t.csv", column, target)
    changes = {"source": f"csv:{tmp_path}/t.csv", "target": "b", "features": 0}
    with pytest.raises(ValueError, match=r"line 62 column 'a': \d.*e\+38; allowed: what float32"):
        data.open_dataset("regression", spectrum_options | changes)


def test_a_packed_table_is_read_and_its_unpacked_size_counts(diabetes, tmp_path, monkeypatch):
    options, frame = diabetes
    frame.to_csv(tmp_path / "packed.csv.gz", index=False)
    packed = options | {"source": f"csv:{tmp_path}/packed.csv.gz"}
    digest = data.open_dataset("regression", options).digest
    assert data.open_dataset("regression", packed).digest == digest
    monkeypatch.setattr(table, "MAX_FILE_BYTES", (tmp_path / "diabetes.csv").stat().st_size - 1)
    for wrong in (options, packed):
        with pytest.raises(ValueError, match="has too many bytes; allowed: at most"):
            data.open_dataset("regression", wrong)
