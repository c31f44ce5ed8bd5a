"""What README.md tells a person to type works as it is printed.

Blocks marked ```bash are meant for any machine and run here, from top to bottom, in a fresh copy of
the project; ```sh needs machines that are not here, ```python runs after them.
"""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def modules() -> set[str]:
    return set(re.findall(r"python\s+-m\s+([\w.]+)", README.replace("\\\n", " ")))


def test_each_block_says_what_it_is_and_each_command_exists():
    assert {kind for kind, _ in BLOCKS} <= {"bash", "sh", "python", "text"}
    assert README.count("```") == 2 * len(BLOCKS)
    assert {"train", "train.compile", "scaling.study", "scaling.fit"} <= modules()
    for name in modules():
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name


def test_no_command_hides_in_an_indented_block():
    assert not re.search(r"^ {4}(python|make|\$) ", README, re.MULTILINE)


@pytest.mark.slow
def test_every_command_runs_as_printed(tmp_path):
    if not (ROOT / ".venv" / "ready").exists():
        pytest.skip("the first command, `make env`, was not run: there is no .venv")
    fresh = tmp_path / "allometry"
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.splitlines():
        (fresh / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, fresh / name)
    (fresh / ".venv").symlink_to(ROOT / ".venv")
    a_person_has(fresh)
    script = ["set -eo pipefail"]
    for kind, text in BLOCKS:
        if kind == "bash":
            # The tests are left out of themselves.
            script += [line for line in text.splitlines() if not line.startswith("make test")]
        if kind == "python":
            script += [f"python - <<'END'\n{text}END"]
    # Nothing of this process's environment but where to find things: a person's shell is bare.
    bare = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    bare |= {"HOME": str(tmp_path), "ALLOMETRY_CACHE": os.environ["ALLOMETRY_CACHE"]}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=fresh, env=bare, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def a_person_has(folder):
    """Texts and tables of one's own, which README speaks of."""
    random = np.random.default_rng(0)
    words = ["".join(map(chr, random.integers(97, 123, 5))) for _ in range(500)]
    (folder / "texts").mkdir()
    for n in range(4):
        (folder / "texts" / f"{n}.txt").write_text(" ".join(random.choice(words, 20_000)))
    (folder / "tables").mkdir()
    for table in ("my.csv", "tables/one.csv", "tables/two.csv"):
        lines = ["params,tokens,val_loss"]
        for size in np.geomspace(1e7, 1e9, 6):
            for tokens in np.geomspace(2e8, 2e10, 6):
                exact = 1.8 + 480 / size**0.35 + 2100 / tokens**0.37
                lines.append(f"{size:.0f},{tokens:.0f},{exact * random.normal(1, 0.002):.5f}")
        (folder / table).write_text("\n".join(lines) + "\n")
