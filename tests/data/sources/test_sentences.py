import io
import tarfile

import numpy as np
import pytest

from data.sources import sentences, wheel

tfds = pytest.importorskip("tensorflow_datasets")


def packed(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            info.size = len(content.encode())
            archive.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


def test_ratings_are_classes_and_those_near_none_are_left_out(monkeypatch):
    lines = "1\t2.25\tlovely é\r\n2\t-0.5\tmeh\r\n3\t-0.45\tso\r\n4\t0.5\tnice"
    content = packed({name: f"{lines} {domain}" for domain, name in sentences.DOMAINS.items()})
    sentences._vader.cache_clear()
    monkeypatch.setattr(wheel, "read", lambda name, inside: content)
    found = sentences.find("vader:movie")
    assert found.train.texts == ["lovely é", "meh", "nice movie"]
    assert found.train.labels.tolist() == [1, 0, 1]
    assert (found.test, found.class_names) == (None, ("negative", "positive"))
    assert len(sentences.find("vader").train.texts) == 12
    sentences._vader.cache_clear()


@pytest.mark.slow
def test_the_pinned_sentences_are_what_they_are_known_to_be():
    try:
        wheel.path("vader")
    except OSError as error:
        pytest.skip(str(error))
    sizes = {}
    for domain in sentences.DOMAINS:
        found = sentences.find(f"vader:{domain}").train
        sizes[domain] = len(found.texts)
        good = np.array([" good " in f" {text} " for text in found.texts])
        assert found.labels[good].mean() > found.labels.mean()  # labels are not shifted
    assert sizes == {"amazon": 2985, "movie": 10072, "nyt": 2970, "tweets": 3432}


class ToyFeelings(tfds.core.GeneratorBasedBuilder):
    """A test split whose labels nobody tells, as those of GLUE."""

    VERSION = tfds.core.Version("1.0.0")
    SPLITS = {"train": 40, "test": 8, "validation": 10}  # noqa: RUF012

    def _info(self):
        label = tfds.features.ClassLabel(names=["sad", "glad"])
        features = tfds.features.FeaturesDict({"sentence": tfds.features.Text(), "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, _):
        return {split: self._generate_examples(split) for split in self.SPLITS}

    def _generate_examples(self, split):
        for number in range(self.SPLITS[split]):
            label = -1 if split == "test" else number % 2
            yield number, {"sentence": f"{split} {number} é {label}", "label": label}


def test_a_data_set_of_the_catalogue_is_read_with_its_labelled_split(tmp_path, monkeypatch):
    ToyFeelings(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    tfds.core.add_data_dir(str(tmp_path))
    found = sentences.find("tfds:toy_feelings")
    assert found.class_names == ("sad", "glad")
    for side, name, size in ((found.train, "train", 40), (found.test, "validation", 10)):
        assert sorted(side.texts) == sorted(f"{name} {n} é {n % 2}" for n in range(size))
        assert all(text[-1] == str(label) for text, label in zip(side.texts, side.labels))
    monkeypatch.setattr(sentences, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="tfds:toy_feelings has too much text; allowed: 100"):
        sentences.find("tfds:toy_feelings")


def test_catalogue_names_work():
    with tfds.testing.mock_data(num_examples=20):
        found = sentences.find("tfds:imdb_reviews")
    assert len(found.train.texts) == 20
    assert found.class_names == ("neg", "pos")
    with tfds.testing.mock_data(num_examples=5), pytest.raises(ValueError, match="no ClassLabel"):
        sentences.find("tfds:lm1b")
