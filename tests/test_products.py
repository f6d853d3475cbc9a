"""Paths against those of ZTF's archive."""

import pytest

from zsds import products
from zsds.core.ids import QuadrantId

ID = QuadrantId("20250120147292", 249, "zg", 9, 1)


def test_science_products_lie_where_ztf_has_them():
    assert str(products.path("science", ID)) == (
        "sci/2025/0120/147292/ztf_20250120147292_000249_zg_c09_o_q1_sciimg.fits.fz"
    )
    assert products.science_path("difference", ID).name == (
        "ztf_20250120147292_000249_zg_c09_o_q1_scimrefdiffimg.fits.fz"
    )
    assert products.science_path("difference_psf", ID).name.endswith("_diffimgpsf.fits")


def test_reference_path_by_field_and_version():
    first = products.path("reference", products.ReferenceId(249, "zg", 9, 1))
    assert str(first) == "ref/000/field000249/zg/ccd09/q1/v001/ztf_000249_zg_c09_q1_refimg.fits.fz"
    assert str(products.path("reference", products.ReferenceId(1249, "zg", 9, 1, 2))).startswith(
        "ref/001/field001249/zg/ccd09/q1/v002/"
    )


def test_calibration_path():
    key = products.CalibrationId("20250120", "zg", 9, 1)
    assert str(products.path("flat", key)) == (
        "cal/2025/0120/hifreqflat/zg/ccd09/q1/v001/ztf_20250120_zg_c09_q1_hifreqflat.fits.fz"
    )
    assert "/pmask/" in str(products.path("bad_pixels", key))


def test_alert_path_is_read_from_the_candid_of_a_real_packet():
    assert str(products.alert_path(739260766315010006)) == "alerts/20190110/26076/63/739260766315010006.avro"


def test_every_product_has_its_own_path():
    keys = [
        (products.SCIENCE, ID),
        (products.DIFFERENCE, ID),
        (products.CALIBRATION, products.CalibrationId("20250120", "zg", 9, 1)),
        (products.REFERENCE, products.ReferenceId(249, "zg", 9, 1)),
        (products.PACKET, 739260766315010006),
        (products.NIGHT, "20250120"),
    ]
    paths = [products.path(name, key) for table, key in keys for name in table]
    assert len(set(paths)) == len(products.names())


@pytest.mark.parametrize("key", [ID, 5, "20250120", products.ReferenceId(1, "zg", 1, 1)])
def test_unknown_product_names_the_known_ones(key):
    with pytest.raises(KeyError, match="known"):
        products.path("portrait", key)
