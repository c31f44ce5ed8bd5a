"""A tokenizer.json of Hugging Face: a byte-level BPE that somebody else has trained.

Taken is what loses and adds no byte of a text, so that losses in bits per byte compare: byte-level,
all 256 bytes among the tokens, no normaliser, no space put before a text, nothing cut or stripped.
Tokens that are told apart beside the BPE ("<|endoftext|>") are read where a text spells them.
"""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from data.sources import bpe, files

KIND = "json:"
MAX_BYTES, MAX_ID = 256 << 20, 1 << 20
ISOLATED = ("Split", "Digits")  # what cuts a text before its bytes are looked at


def path(tokenizer: str) -> Path:
    """The file of "json:PATH"."""
    return files.user_path(tokenizer.removeprefix(KIND))


def digest(tokenizer: str) -> str:
    """sha256 of the file of "json:PATH"; ValueError where it cannot be read."""
    return hashlib.sha256(_content(path(tokenizer))).hexdigest()


def pieces(tokenizer: str) -> list[bytes]:
    """The bytes of all tokens of "json:PATH", in the order of their ids.

    Raises ValueError, in one line, where it cannot be read or is no tokenizer of this kind.
    """
    file = path(tokenizer)
    try:
        return list(_pieces(file, files.state(file)))
    except OSError as error:
        raise ValueError(f"data.tokenizer: {file}: {error.strerror}") from None


def read(tokenizer: str) -> dict[str, Any]:
    """What the file of "json:PATH" says. Raises as `pieces` does."""
    pieces(tokenizer)
    return json.loads(_content(path(tokenizer)))


def of_bytes() -> dict[str, Any]:
    """The tokenizer.json whose tokens are the bytes alone, in their order."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": level | {"use_regex": False},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "BPE", "vocab": bpe.byte_of_character(), "merges": []},
    }


def separated(file: dict[str, Any], says: str, form: str) -> dict[str, Any]:
    """A tokenizer.json with one token more, behind all others, that stands between texts.

    Args:
      file: as it is without.
      says: what spells it; where another token is spelled so, "-" behind it.
      form: the Unicode form that texts are brought into, or "none".
    """
    added, vocab = list(file.get("added_tokens") or ()), file["model"]["vocab"]
    known = {*vocab, *(token["content"] for token in added)}
    while says in known:
        says += "-"
    last = 1 + max([*vocab.values(), *(token["id"] for token in added)])
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added.append({"id": last, "content": says, "special": True, **flags})
    decodes = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}
    own = {"decoder": decodes | {"use_regex": True}, "normalizer": None, "post_processor": None}
    if form != "none":
        own["normalizer"] = {"type": form}
    return file | own | {"added_tokens": added}


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"data.tokenizer: {file}: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"data.tokenizer: {file}; allowed: at most {MAX_BYTES} bytes")
    return content


@functools.lru_cache(maxsize=8)
def _pieces(file: Path, state: tuple[int, ...]) -> tuple[bytes, ...]:
    try:
        found = json.loads(_content(file))
        reason = _refused(found)
        tokens = {} if reason else _tokens(found)
    except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError):
        reason = "is no tokenizer.json"
    except UnicodeDecodeError:
        reason = "is not UTF-8 text"
    if reason:
        raise ValueError(f"data.tokenizer: {file} {reason}; allowed: a byte-level BPE")
    return tuple(tokens.get(i, b"") for i in range(max(tokens) + 1))


def _refused(found: dict[str, Any]) -> str:
    """Why a file is not taken; "" where it is."""
    model, before = found["model"], found["pre_tokenizer"] or {}
    cuts = before["pretokenizers"] if before.get("type") == "Sequence" else [before]
    *first, last = cuts
    isolates = all(
        cut["type"] in ISOLATED and cut.get("behavior", "Isolated") == "Isolated" for cut in first
    )
    if model.get("type") != "BPE" or last.get("type") != "ByteLevel" or not isolates:
        return "is of another kind"
    if last.get("add_prefix_space") or found.get("normalizer"):
        return "alters texts (normalizer, add_prefix_space)"
    if any(found.get(name) for name in ("truncation", "padding")) or any(
        token.get("lstrip") or token.get("rstrip") for token in found.get("added_tokens") or ()
    ):
        return "cuts or pads texts (truncation, padding, lstrip, rstrip)"
    marks = ("continuing_subword_prefix", "end_of_word_suffix", "dropout")
    if any(model.get(name) for name in marks):
        return f"has one of {', '.join(marks)}"
    if not bpe.byte_of_character().keys() <= model["vocab"].keys():
        return "lacks some of the 256 bytes"
    return ""


def _tokens(found: dict[str, Any]) -> dict[int, bytes]:
    """The bytes of tokens by their ids. Raises KeyError or TypeError where there are none."""
    byte_of = bpe.byte_of_character()
    added = {token["content"]: token["id"] for token in found.get("added_tokens") or ()}
    own = {token: i for token, i in found["model"]["vocab"].items() if token not in added}
    tokens = {i: bytes(byte_of[c] for c in token) for token, i in own.items()}
    tokens |= {i: content.encode() for content, i in added.items()}
    if len(tokens) < len(own) + len(added) or not all(
        type(i) is int and 0 <= i < MAX_ID for i in tokens
    ):
        raise TypeError
    return tokens
