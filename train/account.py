"""The account of a run: its facts that are known before it is trained, in plans and in records.

A plan and a record each are an `Account` with fields of their own, and both are flat JSON objects
that `to_json` and `from_json` write and read. A new fact is a new field of `Account`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from train import strict
from train.cli import InputError
from train.identity import digest_of

T = TypeVar("T", bound="Account")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Account:
    """What a run is, how large, on how much data, at what cost."""

    seed: int
    config: dict[str, Any]  # complete, see train.config
    config_sha256: str  # of what decides the numbers
    # Parameters by group, see train.accounting.count_parameters.
    N: Annotated[dict[str, int], {"total": float, str: float}]
    D: float  # units trained on: steps x batch size x units per example
    unit: str  # what D counts
    # FLOPs by convention, see train.accounting.training_flops.
    C: Annotated[dict[str, float], {"forward": float, str: float}]
    epochs: float | None  # passes over the training data; None for endless data
    data_sha256: str  # of the data; "" = unknown

    @property
    def unique(self) -> float | None:
        """Units that the training data have before they repeat; None for endless data."""
        return self.D / self.epochs if self.epochs else None


FACTS = tuple(field.name for field in dataclasses.fields(Account))


def facts(held: Account, **changes: Any) -> dict[str, Any]:
    """The facts alone, by name, as the classes that hold an account take them."""
    return {name: getattr(held, name) for name in FACTS} | changes


def to_json(held: Account) -> dict[str, Any]:
    """What a file says of a planned or ended run: first what is its own, then the facts."""
    values = dataclasses.asdict(held)
    own = {name: value for name, value in values.items() if name not in FACTS}
    return own | {name: values[name] for name in FACTS}


def from_json(kind: type[T], where: str, values: Mapping[str, Any]) -> T:
    """The inverse of `to_json`, of a file that a stranger may have made.

    Args:
      kind: the class that holds the account.
      where: how messages begin: the file, and which of its runs; ends with ": ".
      values: the parsed object.

    Raises:
      InputError: a field that is missing, unknown, mistyped or negative, or a config that does not
        have its digest.
    """
    shape = strict.shape(kind)
    for name in sorted(shape.keys() ^ values.keys()):
        raise InputError(f"{where}{name}: {'missing' if name in shape else 'no such field'}")
    strict.check(where, values, shape)
    numbers = {f"{group}.{k}": v for group in ("N", "C") for k, v in values[group].items()}
    for name, value in (numbers | {"D": values["D"]}).items():
        if value < 0:
            raise InputError(f"{where}{name}: {value!r}; must be a number of at least 0")
    if values["config_sha256"] != digest_of(values["config"]):
        raise InputError(f"{where}config_sha256: does not fit the config that stands with it")
    return kind(**values)
