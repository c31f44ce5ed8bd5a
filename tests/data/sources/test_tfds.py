import sys

import numpy as np
import pytest

import data
from data.sources.documents import TfdsDocuments

tfds = pytest.importorskip("tensorflow_datasets")


class ToyProse(tfds.core.GeneratorBasedBuilder):
    """A text data set with two splits."""

    VERSION = tfds.core.Version("1.0.0")
    SPLITS = {"train": 300, "validation": 20}  # noqa: RUF012

    def _info(self):
        features = tfds.features.FeaturesDict({"text": tfds.features.Text(), "label": np.int64})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, _):
        return {split: self._generate_examples(split) for split in self.SPLITS}

    def _generate_examples(self, split):
        for number in range(self.SPLITS[split]):
            yield number, {"text": f"{split} document {number} über alles", "label": number}


class ToyUnsplit(ToyProse):
    """The same with a training split alone."""

    SPLITS = {"train": 300}  # noqa: RUF012


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A TFDS folder with both data sets, written and read without TensorFlow."""
    folder = str(tmp_path_factory.mktemp("tfds"))
    for builder in (ToyProse, ToyUnsplit):
        builder(data_dir=folder, file_format="array_record").download_and_prepare()
    tfds.core.add_data_dir(folder)
    return folder


def test_the_splits_of_the_data_set_are_kept(prepared):
    sides = list(TfdsDocuments("toy_prose"))
    train = {text.decode() for held_out, text in sides if not held_out}
    held_out = {text.decode() for held_out, text in sides if held_out}
    assert train == {f"train document {number} über alles" for number in range(300)}
    assert held_out == {f"validation document {number} über alles" for number in range(20)}
    numbers = [int(text.split()[2]) for side, text in sides if not side]
    assert abs(np.corrcoef(numbers, np.arange(300))[0, 1]) < 0.2  # shuffled


def test_a_data_set_without_a_second_split_is_split_by_hash(prepared):
    sides = list(TfdsDocuments("toy_unsplit"))
    assert len({text for _, text in sides}) == 300
    assert 4 <= sum(held_out for held_out, _ in sides) <= 30
    assert sides == list(TfdsDocuments("toy_unsplit"))


def test_it_is_a_text_source(prepared, empty_cache, text_options):
    dataset = data.open_dataset("text", text_options | {"source": "tfds:toy_prose:text"})
    texts = b"".join(text for held_out, text in TfdsDocuments("toy_prose") if not held_out)
    row = dataset.train_batch(0, 0, 1)["tokens"][0]
    assert bytes(row[row < 256].astype(np.uint8)) in texts
    assert "tensorflow" not in sys.modules


def test_catalogue_names_work(empty_cache, text_options):
    options = text_options | {"source": "tfds:lm1b", "sequence_length": 8}
    with tfds.testing.mock_data(num_examples=80):
        dataset = data.open_dataset("text", options)
        assert dataset.train_batch(0, 0, 4)["tokens"].shape == (4, 8)
        assert dataset.eval_rows > 0
        assert TfdsDocuments("ag_news_subset:title").fingerprint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lmb1", "data.source: tfds:lmb1; did you mean lm1b?"),
        ("ag_news_subset", "allowed: one of title, description"),
        ("ag_news_subset:body", "allowed: one of title, description"),
        ("mnist", "this data set has no Text feature"),
        ("lm1b/no_such_config", "cannot be read"),
    ],
)
def test_a_bad_name_is_refused(name, message):
    with tfds.testing.mock_data(num_examples=5), pytest.raises(ValueError, match="tfds") as caught:
        TfdsDocuments(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
