"""The TensorFlow Datasets catalogue, read without TensorFlow, its errors in one line.

$TFDS_DATA_DIR says where prepared data sets lie.
"""

import contextlib
import difflib
from collections.abc import Iterator
from typing import Any


def builder(name: str) -> Any:
    """The builder of data set NAME[/CONFIG], for files of kind array_record.

    Raises ValueError or OSError where there is none.
    """
    import tensorflow_datasets as tfds

    with reading(name):
        try:
            return tfds.builder(name, file_format="array_record")
        except tfds.core.DatasetNotFoundError:
            # Community data sets are left out: listing them needs the network and TensorFlow.
            names = tfds.list_builders(with_community_datasets=False)
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            allowed = f"{hint}allowed: a name that tfds.list_builders() gives"
    raise ValueError(f"data.source: tfds:{name}; {allowed}")


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Gives the errors of TFDS, of a dozen kinds and many pages, one line and one of two kinds.

    What may pass, such as a full disk or no network, stays an OSError; the rest is a ValueError.
    What names its field already is left as it is.
    """
    try:
        yield
    except Exception as error:
        if str(error).startswith("data."):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(f"data.source: tfds:{name} cannot be read: {reason}") from error


def key(name: str, given: str, features: Any, kind: str, usual: str) -> str:
    """The feature of a kind: `given`, or the only one, or the one of the `usual` name.

    kind: the name of its class in `tfds.features`, such as "Text".
    """
    import tensorflow_datasets as tfds

    found = [f for f in features if isinstance(features[f], getattr(tfds.features, kind))]
    if given in found:
        return given
    if not given and (len(found) == 1 or usual in found):
        return found[0] if len(found) == 1 else usual
    none = f"this data set has no {kind} feature"
    raise ValueError(
        f"data.source: tfds:{name}:{given or '?'}; "
        + (f"allowed: one of {', '.join(found)}" if found else none)
    )
