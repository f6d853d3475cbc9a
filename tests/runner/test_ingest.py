"""Which files of a folder count as raw frames."""

import errno
import os
from pathlib import Path

import pytest

from zsds.core.errors import BadInput
from zsds.runner.ingest import find_frames


def test_fits_files_of_any_spelling_once_each(tmp_path):
    names = ["a.fits", "b.FIT", "c.fits.fz", "night/d.FITS.gz"]
    for name in [*names, "notes.txt", "e.fits.md5", "._a.fits", ".~tmp~/f.fits"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    around = tmp_path / "night" / ".." / "a.fits"
    assert find_frames([tmp_path, around]) == ([tmp_path / name for name in names], [])


def test_links_are_followed_and_a_folder_is_looked_at_once(tmp_path):
    for name in ("elsewhere/a.fits", "in/real/b.fits"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "in" / "another").symlink_to("real")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "in")
    found = [tmp_path / "in" / name for name in ("linked/a.fits", "real/b.fits")]
    assert find_frames([tmp_path / "in"]) == (found, [])


def test_a_folder_that_is_closed_to_us_is_told(tmp_path, monkeypatch):
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.fits").touch()

    def refuse(path, scandir=os.scandir):
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found, (closed,) = find_frames([tmp_path])
    assert found == [tmp_path / "open" / "a.fits"]
    assert str(closed).startswith(f"{tmp_path}/closed: cannot be looked into: Permission denied; give")


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="check the path"):
        find_frames([tmp_path / "none"])
