"""Files that a stranger may have made: strict JSON, and its shape, checked before it is used."""

import dataclasses
import json
import math
import types
import typing
from typing import Annotated, Any

from train.cli import InputError

MAX_DEPTH = 32
_MAX_DIGITS = 300  # more would not fit a float
_WORDS = {
    float: "a number",
    int: "a whole number",
    str: "text",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}


def parse(text: str) -> Any:
    """JSON with finite numbers and printable text only, nested no deeper than `MAX_DEPTH`.

    Raises:
      ValueError: for anything else, in one line.
    """
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            break
    else:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be written out
    return value


def check(where: str, value: Any, shape: Any) -> None:
    """Checks that parsed JSON has a shape.

    Args:
      where: the file and the field, for the message; "FILE: " for the whole of a file.
      value: what stands there.
      shape: a type (float stands for any number), a pair (shape, None) for what may be null, a list
        of one shape for elements of any number or of several for just as many, or a dict from names
        to shapes: those names must be there; under the key `str`, the shape of all other values.

    Raises:
      InputError: naming the field, what is there and what must be.
    """
    if isinstance(shape, tuple):
        if value is not None:
            check(where, value, shape[0])
    elif isinstance(shape, dict):
        check(where, value, dict)
        inside = where if where.endswith(": ") else f"{where}."
        for name in shape.keys() - {str}:
            if name not in value:
                raise InputError(f"{inside}{name}: missing")
        for name, part in value.items():
            check(f"{inside}{name}", part, shape.get(name, shape.get(str, object)))
    elif isinstance(shape, list):
        check(where, value, list)
        if len(shape) > 1 and len(value) != len(shape):
            raise InputError(f"{where}: {len(value)} elements; must be {len(shape)}")
        for place, part in enumerate(value):
            check(f"{where}[{place}]", part, shape[place % len(shape)])
    elif not _is(value, shape):
        raise InputError(f"{where}: {repr(value)[:60]}; must be {_WORDS[shape]}")


def shape(kind: Any) -> Any:
    """The shape, as `check` takes it, of the JSON that holds a dataclass, from its annotations.

    `Annotated[type, shape]` is for what a type cannot say.
    """
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        return {field.name: shape(hints[field.name]) for field in dataclasses.fields(kind)}
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return inside[1]
    if origin is types.UnionType:  # "X | None"
        return (shape(inside[0]), None)
    if origin is list:
        return [shape(inside[0])]
    if origin is dict:
        return dict if inside[1] is Any else {inside[0]: shape(inside[1])}
    return kind


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind in (bool, object)
    return isinstance(value, (int, float) if kind is float else kind)


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)
