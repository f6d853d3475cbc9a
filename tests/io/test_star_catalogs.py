"""PSF catalogs: ours comes back, and readers of ZTF's find theirs."""

import numpy as np
import pytest
from astropy.io import fits

from tests.io.test_images import GAIN, ID, make_exposure
from zsds.core.tables import new_table
from zsds.io.store import Store


@pytest.mark.parametrize("n", [0, 3])
def test_both_layouts(tmp_path, n):
    store = Store.create(tmp_path / "archive", "demo")
    stars = new_table("stars", n)
    stars["id"] = np.arange(n)
    stars["x"], stars["y"] = np.arange(n) * 10.5, 7.25
    stars["flux"], stars["flux_err"] = 6200.0, 62.0
    stars["flags"] = 0x10002
    if n:
        stars["is_edge"][0] = True
        stars["flux"][1] = -5
    path = store.save_psf_catalog("psf_catalog", ID, stars, make_exposure(), {"SEEING": 2.2})
    back = store.load_table("psf_catalog", ID, "stars")
    for name in stars.colnames:
        np.testing.assert_array_equal(back[name], stars[name])
    assert back.meta["MAGZP"] == pytest.approx(28.1 - 2.5 * np.log10(GAIN))
    with fits.open(path, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "PSF_CATALOG", "STARS"]
        assert hdus[0].header["NSOURCES"] == n
        assert hdus[0].header["SEEING"] == 2.2
        assert "CTYPE1" not in hdus[0].header
        theirs = hdus[1].data
        expected = "sourceid xpos ypos ra dec flux sigflux mag sigmag snr chi sharp flags"
        assert " ".join(theirs.names) == expected
        if n:
            assert theirs["xpos"][1] == 11.5
            assert theirs["flags"].tolist() == [-1, 2, 2]
            assert theirs["mag"][2] == pytest.approx(-2.5 * np.log10(1000))
            assert theirs["sigmag"][2] == pytest.approx(0.01086, rel=1e-3)
            assert np.isnan(theirs["mag"][1])
