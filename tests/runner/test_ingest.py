"""Which files of a folder count as raw frames."""

import pytest

from zsds.core.errors import BadInput
from zsds.runner.ingest import find_frames


def test_fits_files_of_any_spelling_once_each(tmp_path):
    names = ["a.fits", "b.FIT", "c.fits.fz", "night/d.FITS.gz"]
    for name in [*names, "notes.txt", "e.fits.md5", "._a.fits"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_frames([tmp_path, tmp_path / "a.fits"]) == [tmp_path / name for name in names]


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="check the path"):
        find_frames([tmp_path / "none"])
