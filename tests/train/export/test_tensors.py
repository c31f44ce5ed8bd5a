"""safetensors, whole and broken."""

import json

import ml_dtypes
import numpy as np
import pytest

from train.cli import InputError
from train.export import tensors


def file_of(path, header: dict | str, content: bytes, length: int | None = None):
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    size = len(text) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + text + content)
    return path


def entry(kind="F32", shape=(2,), begin=0, end=8) -> dict:
    return {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end]}


def test_what_is_written_is_read(tmp_path):
    rng = np.random.default_rng(0)
    given = {
        "b": rng.normal(size=(3, 4)).astype(np.float32).T,
        "a": np.float32(2.5).reshape(()),
        "none": np.zeros((0, 3), np.float32),
    }
    tensors.write(tmp_path / "x", given)
    found = tensors.read(tmp_path / "x")
    assert found.keys() == given.keys()
    for name, array in given.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.float32


def test_halves_are_read(tmp_path):
    x = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    path = file_of(tmp_path / "x", {"w": entry("BF16", (2,), 0, 4)}, x.tobytes())
    np.testing.assert_array_equal(tensors.read(path)["w"].astype(np.float32), [1.5, -2.0])


@pytest.mark.parametrize(
    ("header", "content", "says"),
    [
        ({"w": entry("I64", (1,))}, 8, "dtype 'I64'; allowed: F64, F32, F16, BF16"),
        ({"w": entry(shape=(3,))}, 8, "w: [3] does not lie at 0 to 8"),
        ({"w": entry(shape=(-2,), end=-8)}, 8, "w: [-2] does not lie at 0 to -8"),
        ({"w": entry()}, 7, "cut short: w ends at"),
        ({"w": entry()}, 9, "1 bytes behind its last array"),
        ({"v": entry(), "w": entry()}, 8, "w: [2] does not lie at 0 to 8"),
        ({"w": entry(begin=4, end=12)}, 12, "does not lie at 4 to 12"),
        ({"w": {"dtype": "F32"}}, 0, "missing"),
        ({"w": [1]}, 0, "must be an object"),
        ("[1]", 0, "must be an object"),
        ('{"w": NaN}', 0, "not a finite number"),
        ("{", 0, "no safetensors file"),
    ],
)
def test_what_is_wrong_is_one_line(header, content, says, tmp_path):
    path = file_of(tmp_path / "x", header, bytes(content))
    with pytest.raises(InputError) as told:
        tensors.read(path)
    assert str(path) in str(told.value)
    assert says in str(told.value)


def test_a_header_longer_than_the_file_is_not_read(tmp_path):
    for length in (1 << 60, 10, 1):
        path = file_of(tmp_path / "x", "{}", b"", length)
        with pytest.raises(InputError, match="no safetensors file: its header"):
            tensors.read(path)
    with pytest.raises(InputError, match="No such file"):
        tensors.read(tmp_path / "nowhere")
