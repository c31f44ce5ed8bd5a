"""What Python packages say of themselves: docstrings, as a first paragraph and the rest.

Source files are read, by `ast`, and never run.
"""

import ast
import re
import warnings
from collections.abc import Iterator

# Pins of data.sources.wheel whose wheels serve any platform, each with a folder of its own name.
PACKAGES = (
    "dask",
    "diffusers",
    "django",
    "flax",
    "jax",
    "keras",
    "mne",
    "networkx",
    "nltk",
    "pennylane",
    "sktime",
    "sympy",
    "tensorflow_probability",
    "transformers",
    "twisted",
    "xarray",
)
TESTS = re.compile(r"(^|/)(tests?/|test_|conftest)")
LEAST_WORDS, MOST_WORDS, LEAST_BODY = 3, 30, 10  # of a first paragraph, and of what follows it
RULES = re.compile(r"[-=~^*#]{3,}")  # what underlines a heading
KINDS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def is_documented(name: str) -> bool:
    """Whether a file's docstrings are meant for readers: those of a module that is no test."""
    return name.endswith(".py") and not TESTS.search(name)


def summaries(content: bytes) -> Iterator[tuple[str, str]]:
    """Of each docstring of a module that has both: what follows the first paragraph, and that one.

    With single spaces and without lines under headings. A first paragraph has 3 to 30 words, what
    follows it 10 or more: less says nothing, and more is no summary.

    Raises SyntaxError for what is not Python of this version.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of backslashes in other people's strings
        module = ast.parse(content)
    for node in ast.walk(module):
        if isinstance(node, KINDS):
            first, _, rest = (ast.get_docstring(node) or "").strip().partition("\n\n")
            first, body = first.split(), RULES.sub(" ", rest).split()
            if LEAST_WORDS <= len(first) <= MOST_WORDS and len(body) >= LEAST_BODY:
                yield " ".join(body), " ".join(first)
