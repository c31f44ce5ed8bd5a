import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

from data.sources import wheel
from tests.conftest import ROOT

CONTENT = b"red,green\n" * 1000


def pin_of(path):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return wheel.Pin(path.name, digest, 0.1, "none")


def make_wheel(folder):
    path = folder / "colours-1.2-py3-none-any.whl"
    about = "Metadata-Version: 2.1\nName: colours\nVersion: 1.2\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("colours/data.csv", CONTENT)
        archive.writestr("colours-1.2.dist-info/METADATA", about)
        archive.writestr("colours-1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("colours-1.2.dist-info/RECORD", "")
    return path


def packed_tar(name, compression):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(CONTENT)
        archive.addfile(info, io.BytesIO(CONTENT))
    return buffer.getvalue()


def make_deb(folder, compression="xz"):
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": b"odd",  # which the next member's place must allow for
        f"data.tar.{compression}": packed_tar("./usr/share/colours/data.csv", compression),
    }
    content = b"!<arch>\n"
    for name, inside in members.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(inside):<10}`\n"
        content += header.encode() + inside + b"\n" * (len(inside) % 2)
    path = folder / "data-colours_1.2~git1-3_all.deb"
    path.write_bytes(content)
    return path


@pytest.fixture
def index(tmp_path, empty_cache, monkeypatch):
    """A folder that stands for the user's package index; there is no other."""
    pytest.importorskip("pip")
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def keep(cache_folder, path):
    """What a user does who has no network: the file goes to where the error says."""
    place = cache_folder / f"package-{pin_of(path).sha256[:32]}"
    place.mkdir(parents=True)
    path.rename(place / path.name)
    return place / path.name


def test_a_wheel_is_fetched_once_and_read_and_not_installed(index, monkeypatch, capsys):
    archive = make_wheel(index)
    monkeypatch.setitem(wheel.PINS, "colours", pin_of(archive))
    assert wheel.read("colours", "colours/data.csv") == CONTENT
    assert "fetching colours-1.2-py3-none-any.whl" in capsys.readouterr().err
    archive.unlink()
    with wheel.member("colours", "colours/data.csv") as file:
        assert file.readline() == b"red,green\n"
    assert capsys.readouterr().err == ""


def test_another_file_of_the_same_name_is_refused(index, empty_cache, monkeypatch):
    pin = pin_of(make_wheel(index))
    monkeypatch.setitem(wheel.PINS, "colours", pin._replace(sha256="0" * 64))
    with pytest.raises(OSError, match=r"colours-1\.2-py3-none-any\.whl cannot be fetched") as error:
        wheel.path("colours")
    assert "\n" not in str(error.value)
    assert not list(empty_cache.glob("package-*"))  # nothing half-made stays


def test_a_damaged_file_is_fetched_again(index, monkeypatch, capsys):
    monkeypatch.setitem(wheel.PINS, "colours", pin_of(make_wheel(index)))
    place = wheel.path("colours")
    place.write_bytes(place.read_bytes()[:-1] + b"x")
    assert wheel.read("colours", "colours/data.csv") == CONTENT
    assert "is damaged" in capsys.readouterr().err


def test_without_an_index_one_line_says_what_to_do(index, empty_cache, tmp_path, monkeypatch):
    archive = make_wheel(tmp_path)
    monkeypatch.setitem(wheel.PINS, "colours", pin_of(archive))
    with pytest.raises(OSError, match=r"where there is a network, `make data`.* copy it") as error:
        wheel.path("colours")
    assert str(empty_cache) in str(error.value)
    kept = keep(empty_cache, archive)
    assert wheel.path("colours") == kept


@pytest.mark.parametrize("compression", ["xz", "gz"])
def test_a_debian_package_is_read_without_debian(empty_cache, tmp_path, monkeypatch, compression):
    kept = keep(empty_cache, make_deb(tmp_path, compression))
    monkeypatch.setitem(wheel.PINS, "colours", pin_of(kept))
    assert wheel.read("colours", "./usr/share/colours/data.csv") == CONTENT


def test_an_sdist_is_read(empty_cache, tmp_path, monkeypatch):
    archive = tmp_path / "colours-1.2.tar.gz"
    archive.write_bytes(packed_tar("colours-1.2/data.csv", "gz"))
    pin = pin_of(archive)
    assert pin.package == ("colours", "1.2")
    keep(empty_cache, archive)
    monkeypatch.setitem(wheel.PINS, "colours", pin)
    assert wheel.read("colours", "colours-1.2/data.csv") == CONTENT


def test_a_debian_package_comes_by_apt(empty_cache, tmp_path, monkeypatch):
    archive = make_deb(tmp_path)
    monkeypatch.setitem(wheel.PINS, "colours", pin_of(archive))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="there is no apt-get here"):
        wheel.path("colours")
    apt = tmp_path / "apt-get"
    refused = "E: Version '1' was not found"
    apt.write_text(f'#!/bin/sh\necho "{refused}" >&2\nexit 100\n')
    apt.chmod(0o755)
    with pytest.raises(OSError, match=refused):
        wheel.path("colours")
    # apt writes some characters of a version as %XX.
    apt.write_text(
        '#!/bin/sh\n[ "$*" = "download data-colours=1.2~git1-3" ] && '
        f"/bin/cp {archive} data-colours_1.2%7egit1-3_all.deb\n"
    )
    assert wheel.read("colours", "./usr/share/colours/data.csv") == CONTENT


def test_an_npm_package_comes_by_npm_and_its_scripts_do_not_run(empty_cache, tmp_path, monkeypatch):
    archive = tmp_path / "data-colours-1.2.tgz"
    archive.write_bytes(packed_tar("package/img/red.csv", "gz"))
    pin = pin_of(archive)
    assert pin.package == ("data-colours", "1.2")
    monkeypatch.setitem(wheel.PINS, "colours", pin)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="there is no npm here"):
        wheel.path("colours")
    npm = tmp_path / "npm"
    npm.write_text('#!/bin/sh\necho "npm error code E404" >&2\nexit 1\n')
    npm.chmod(0o755)
    with pytest.raises(OSError, match="npm error code E404"):
        wheel.path("colours")
    npm.write_text(
        f'#!/bin/sh\n[ "$*" = "pack --ignore-scripts data-colours@1.2" ] && /bin/cp {archive} .\n'
    )
    assert dict(wheel.members("colours", "package/img")) == {"red.csv": CONTENT}
    assert not dict(wheel.members("colours", "package/im"))
    monkeypatch.setattr(wheel.files, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match=r"red\.csv has too many bytes; allowed: .* 100"):
        list(wheel.members("colours", "package/img"))


def test_too_much_is_not_read_at_once(index, monkeypatch):
    monkeypatch.setitem(wheel.PINS, "colours", pin_of(make_wheel(index)))
    monkeypatch.setattr(wheel.files, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match=r"colours/data\.csv has too many bytes; allowed: .* 100"):
        wheel.read("colours", "colours/data.csv")


@pytest.mark.slow
@pytest.mark.parametrize("name", wheel.PINS)
def test_every_pin_can_be_had(name, empty_cache):
    try:
        size = wheel.path(name).stat().st_size
    except OSError as error:
        if re.search("HASHES|what came", str(error)):
            raise
        pytest.skip(str(error))
    assert size == pytest.approx(wheel.PINS[name].megabytes * 1e6, rel=0.05)


def test_asking_for_help_fetches_nothing(tmp_path):
    for given, code in (("--help", 0), ("all", 2)):
        command = [sys.executable, "-m", "data.sources", given]
        environment = os.environ | {"ALLOMETRY_CACHE": str(tmp_path)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == code
        assert "usage: python -m data.sources" in done.stdout + done.stderr
    assert not any(tmp_path.iterdir())
