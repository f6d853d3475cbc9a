"""Forced photometry of earlier images in a packet of ZTF's schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zsds.core.alert_schema import record_fields

MISSING = -99999.0  # what ZTF's own packets have in fp_hists for a number that is missing
NEAREST = ("distnr", "ranr", "decnr", "magnr", "sigmagnr", "chinr", "sharpnr")


@dataclass(frozen=True)
class ForcedPoint:
    """The flux of an object's place in one difference image.

    Parameters
    ----------
    flux, flux_err : float or None
        Electrons, positive for brightenings; None where it cannot be measured.
    bad_fraction : float
        Part of the PSF's weight on pixels that cannot be used.
    status : int
        As in the table ``forced``.
    nearest : mapping or None
        The source of the reference within 5 arcsec: fields `NEAREST`.
    facts : mapping
        Of the exposure: those of `zsds.alerts.exposure_facts`, and under ``image`` what `image_facts` of the
        difference unit adds.
    """

    flux: float | None
    flux_err: float | None
    bad_fraction: float
    status: int
    nearest: Mapping[str, Any] | None
    facts: Mapping[str, Any]


def fp_hist(point: ForcedPoint) -> dict[str, Any]:
    """The point as a row of ``fp_hists``; numbers that are missing are -99999, as in ZTF's packets."""
    image = point.facts["image"]
    gain = image["gain"]
    known = {
        **point.facts,
        **image,
        **(point.nearest or {}),
        "forcediffimflux": None if point.flux is None else point.flux / gain,
        "forcediffimfluxunc": None if point.flux_err is None else point.flux_err / gain,
        "procstatus": str(point.status),
    }
    return {field.name: MISSING if known.get(field.name) is None else known[field.name] for field in _FIELDS}


_FIELDS = record_fields("fp_hist")
