"""Product name -> relative path inside an archive, after ZTF's tree; nothing here touches the disk.

Images are tile-compressed, so they carry ZTF's names with ``.fz`` behind (as ``fpack`` writes them). A
calibration or a reference has one folder per version: a new version never replaces one that was used. What
belongs to a quadrant lies at one place in its newest version; those before have a tree of their own each.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from zsds.core.ids import CANDIDS_PER_PID, MJD_NIGHT_ZERO, MJD_UNIX_EPOCH, QuadrantId
from zsds.core.stream import OWN_SCHEMA, ZTF_SCHEMA

_SCIENCE = "sci/{year}/{monthday}/{fraction}/{id}_"
_CALIBRATION = "cal/{year}/{monthday}/{kind}/{band}/ccd{ccd:02d}/q{quadrant}/v{version:03d}/"
_CALIBRATION += "{prefix}_{night}_{band}_c{ccd:02d}_q{quadrant}_"
_REFERENCE = "ref/{thousand:03d}/field{field:06d}/{band}/ccd{ccd:02d}/q{quadrant}/v{version:03d}/"
_REFERENCE += "{prefix}_{field:06d}_{band}_c{ccd:02d}_q{quadrant}_"

SCIENCE = {
    "science": _SCIENCE + "sciimg.fits.fz",
    "science_uncertainty": _SCIENCE + "sciunc.fits.fz",
    "science_mask": _SCIENCE + "mskimg.fits.fz",
    "science_psf": _SCIENCE + "sciimgdaopsfcent.fits",
    "psf_catalog": _SCIENCE + "psfcat.fits",
    "aperture_catalog": _SCIENCE + "sexcat.fits",
    "residuals": _SCIENCE + "residuals.fits",
    "science_metrics": _SCIENCE + "scimetrics.json",
}
DIFFERENCE = {
    "difference": _SCIENCE + "scimrefdiffimg.fits.fz",
    "difference_uncertainty": _SCIENCE + "scimrefdiffunc.fits.fz",
    "difference_mask": _SCIENCE + "scimrefdiffmsk.fits.fz",
    "difference_psf": _SCIENCE + "diffimgpsf.fits",
    "difference_flux_error": _SCIENCE + "scimrefdifffluxerr.fits.fz",
    "score": _SCIENCE + "scorrimg.fits.fz",
    "candidates": _SCIENCE + "candidates.fits",
    "stamps": _SCIENCE + "stamps.parquet",
    "cutouts": _SCIENCE + "cutouts.parquet",
    "difference_metrics": _SCIENCE + "diffmetrics.json",
}
CALIBRATION = {
    "bias": _CALIBRATION + "bias.fits.fz",
    "bias_uncertainty": _CALIBRATION + "biasunc.fits.fz",
    "bias_mask": _CALIBRATION + "biasmsk.fits.fz",
    "flat": _CALIBRATION + "hifreqflat.fits.fz",
    "flat_uncertainty": _CALIBRATION + "hifreqflatunc.fits.fz",
    "flat_mask": _CALIBRATION + "hifreqflatmsk.fits.fz",
    "bad_pixels": _CALIBRATION + "pmask.fits.fz",
}
REFERENCE = {
    "reference": _REFERENCE + "refimg.fits.fz",
    "reference_uncertainty": _REFERENCE + "refunc.fits.fz",
    "reference_mask": _REFERENCE + "refmsk.fits.fz",
    "reference_coverage": _REFERENCE + "refcov.fits.fz",
    "reference_psf": _REFERENCE + "refpsf.fits",
    "reference_spline": _REFERENCE + "refspline.fits.fz",
    "reference_spline_psf": _REFERENCE + "refsplinepsf.fits",
    "reference_psf_catalog": _REFERENCE + "refpsfcat.fits",
    "reference_aperture_catalog": _REFERENCE + "refsexcat.fits",
    "reference_metrics": _REFERENCE + "refmetrics.json",
}
PACKET = {
    "packet": "alerts/{night}/{fraction}/{channel:02d}/{candid}.avro",
    "own_packet": "alerts_zsds/{night}/{fraction}/{channel:02d}/{candid}.avro",
}
PACKET_OF = {ZTF_SCHEMA: "packet", OWN_SCHEMA: "own_packet"}
TAR_OF = {ZTF_SCHEMA: "packet_tar", OWN_SCHEMA: "own_packet_tar"}
NIGHT = {
    "packet_tar": "alerts/{prefix}_public_{night}.tar.gz",
    "own_packet_tar": "alerts_zsds/{prefix}_zsds_public_{night}.tar.gz",
    "report": "reports/{prefix}_{night}_report.html",
    "night_log": "logs/{night}",
}

_SUPERSEDED = "superseded/{kind}/{year}/{monthday}/{fraction}/{id}/v{version:03d}"

_CHANNEL_KEY = r"(?P<band>[a-z]{2})_c(?P<ccd>\d+)_q(?P<quadrant>\d+)"
_CALIBRATION_KEY = re.compile(r"(?P<prefix>[a-z0-9]+)_(?P<night>\d{8})_" + _CHANNEL_KEY)
_REFERENCE_KEY = re.compile(r"(?P<prefix>[a-z0-9]+)_(?P<field>\d{6})_" + _CHANNEL_KEY)
_CALIBRATION_FOLDERS = {"bias": "bias", "flat": "hifreqflat", "bad": "pmask"}


@dataclass(frozen=True, order=True)
class CalibrationId:
    """One version, from 1, of a quadrant's calibration of a night ``YYYYMMDD``; band ``bi`` for bias."""

    night: str
    band: str
    ccd: int
    quadrant: int
    version: int = 1
    prefix: str = "ztf"

    def __str__(self) -> str:
        """Without its version: the key of its unit."""
        return f"{self.prefix}_{self.night}_{self.band}_c{self.ccd:02d}_q{self.quadrant}"

    @classmethod
    def parse(cls, key: str) -> "CalibrationId":
        """Read it back from the key of its unit, in version 1.

        Raises
        ------
        ValueError
            If the text is none.
        """
        place = _match(_CALIBRATION_KEY, key)
        channel = int(place["ccd"]), int(place["quadrant"])
        return cls(place["night"], place["band"], *channel, prefix=place["prefix"])


@dataclass(frozen=True, order=True)
class ReferenceId:
    """One version, from 1, of the reference of a field, band, CCD and quadrant."""

    field: int
    band: str
    ccd: int
    quadrant: int
    version: int = 1
    prefix: str = "ztf"

    def __str__(self) -> str:
        """Without its version: the key of its unit."""
        return f"{self.prefix}_{self.field:06d}_{self.band}_c{self.ccd:02d}_q{self.quadrant}"

    @classmethod
    def parse(cls, key: str) -> "ReferenceId":
        """Read it back from the key of its unit, in version 1.

        Raises
        ------
        ValueError
            If the text is none.
        """
        place = _match(_REFERENCE_KEY, key)
        channel = int(place["ccd"]), int(place["quadrant"])
        return cls(int(place["field"]), place["band"], *channel, prefix=place["prefix"])


def _match(pattern: re.Pattern[str], key: str) -> re.Match[str]:
    found = pattern.fullmatch(key)
    if found is None:
        raise ValueError(f"not the key of a unit: {key!r}")
    return found


ProductId = QuadrantId | CalibrationId | ReferenceId | int | str


def path(product: str, identifier: ProductId, prefix: str = "ztf") -> PurePosixPath:
    """Relative path of a product.

    Parameters
    ----------
    product : str
        One of `names`.
    identifier : QuadrantId, CalibrationId, ReferenceId, int or str
        What the product belongs to: a packet to its candid (int), a night's file to ``YYYYMMDD`` (str).
    prefix : str
        First part of the file names of nights' products; the others carry their own.

    Raises
    ------
    KeyError
        If no such product exists for this sort of identifier, naming those that do.
    """
    if isinstance(identifier, QuadrantId):
        return science_path(product, identifier)
    if isinstance(identifier, CalibrationId):
        i = identifier
        return calibration_path(product, i.night, i.band, i.ccd, i.quadrant, i.version, i.prefix)
    if isinstance(identifier, ReferenceId):
        r = identifier
        return reference_path(product, r.field, r.band, r.ccd, r.quadrant, r.version, r.prefix)
    if isinstance(identifier, int):
        return alert_path(identifier, product)
    return PurePosixPath(_template(NIGHT, product).format(night=identifier, prefix=prefix))


def names() -> list[str]:
    """All product names."""
    return [*SCIENCE, *DIFFERENCE, *CALIBRATION, *REFERENCE, *PACKET, *NIGHT]


def _template(table: dict[str, str], product: str) -> str:
    if product not in table:
        raise KeyError(f"no product {product!r} here; known: {', '.join(table)}")
    return table[product]


def science_path(product: str, identifier: QuadrantId) -> PurePosixPath:
    """Path of a product of one quadrant of one exposure: calibrated or difference image, catalogs, logs."""
    night = identifier.night
    return PurePosixPath(
        _template({**SCIENCE, **DIFFERENCE}, product).format(
            year=night[:4], monthday=night[4:], fraction=identifier.fraction, id=identifier
        )
    )


def superseded_path(kind: str, identifier: QuadrantId, version: int) -> PurePosixPath:
    """Folder that holds a superseded version of a quadrant's unit, in a tree like the archive's."""
    night = identifier.night
    return PurePosixPath(
        _SUPERSEDED.format(
            kind=kind,
            year=night[:4],
            monthday=night[4:],
            fraction=identifier.fraction,
            id=identifier,
            version=version,
        )
    )


def calibration_path(
    product: str, night: str, band: str, ccd: int, quadrant: int, version: int, prefix: str = "ztf"
) -> PurePosixPath:
    """Path of a master bias, flat or bad-pixel mask, or of its uncertainty and mask."""
    return PurePosixPath(
        _template(CALIBRATION, product).format(
            year=night[:4],
            monthday=night[4:],
            night=night,
            kind=_CALIBRATION_FOLDERS[product.partition("_")[0]],
            band=band,
            ccd=ccd,
            quadrant=quadrant,
            version=version,
            prefix=prefix,
        )
    )


def reference_path(
    product: str, field: int, band: str, ccd: int, quadrant: int, version: int, prefix: str = "ztf"
) -> PurePosixPath:
    """Path of a product of one version of a reference; never rewritten once something used it."""
    return PurePosixPath(
        _template(REFERENCE, product).format(
            thousand=field // 1000,
            field=field,
            band=band,
            ccd=ccd,
            quadrant=quadrant,
            version=version,
            prefix=prefix,
        )
    )


def packet_folder(pid: int, product: str = "packet") -> PurePosixPath:
    """Folder of the packets of one quadrant of one exposure."""
    return alert_path(pid * CANDIDS_PER_PID, product).parent


def alert_path(candid: int, product: str = "packet") -> PurePosixPath:
    """Path of a packet of ZTF's schema or ours; night, time and channel are read from the candid itself."""
    night_number, rest = divmod(candid, 10**15)
    fraction, rest = divmod(rest, 10**10)
    day = night_number + MJD_NIGHT_ZERO - MJD_UNIX_EPOCH
    night = f"{datetime.fromtimestamp(0, UTC) + timedelta(days=day):%Y%m%d}"
    return PurePosixPath(
        _template(PACKET, product).format(
            night=night, fraction=f"{fraction:05d}", channel=rest // 10**8, candid=candid
        )
    )
