"""Frames that land in a folder: what is told of those that may not be read, and when they are taken."""

import errno
import os
import shutil

import pytest
from astropy.io import fits

from zsds.core.errors import BadInput
from zsds.runner.incoming import Incoming

DENIED = PermissionError(errno.EACCES, "Permission denied")


def refuse(*_arguments, **_options):
    raise DENIED


@pytest.fixture
def watch(ready_survey, tmp_path):
    """A folder with one frame, looked at for the first time."""
    shutil.copy(ready_survey.frames[0], tmp_path / "a.fits.fz")
    os.utime(tmp_path / "a.fits.fz", (1, 1))
    watch = Incoming(tmp_path, ready_survey.open().camera)
    assert watch.look().frames == []
    return watch


def test_a_frame_is_taken_once_it_may_be_read(watch, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fits, "open", refuse)
        (refused,) = watch.look().refused
        assert watch.look().refused == []
    assert str(refused).startswith(
        f"{watch.folder}/a.fits.fz: cannot be read: Permission denied; give the user"
    )
    (watch.folder / "a.fits.fz").chmod(0o640)
    (frame,) = watch.look().frames
    assert frame.path == f"{watch.folder}/a.fits.fz"
    assert watch.look().frames == []


def test_a_closed_folder_is_told_once_each_time(watch, monkeypatch):
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", refuse)
            assert "cannot be looked into" in str(*watch.look().refused)
            assert watch.look().refused == []
        assert len(watch.look().frames) <= 1


def test_a_file_is_no_folder(watch):
    with pytest.raises(BadInput, match="name the folder that frames land in"):
        Incoming(watch.folder / "a.fits.fz", watch.camera).look()
