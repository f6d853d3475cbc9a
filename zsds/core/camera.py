"""A camera as data: detectors, amplifiers, bands, site, header habits. Loaded from one YAML file."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from zsds.core.settings import settings_hash


@dataclass(frozen=True)
class Section:
    """A rectangle of pixels, zero-based and half-open; YAML writes it FITS style, ``[x1:x2,y1:y2]``."""

    x0: int
    x1: int
    y0: int
    y1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing an array [ny, nx]."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


@dataclass(frozen=True)
class Amplifier:
    """One readout channel.

    Parameters
    ----------
    quadrant : int
        From 1.
    extension : int
        HDU that holds the pixels, 0 the primary.
    data : Section
        Light-sensitive pixels.
    gain : float
        Electrons per DN.
    read_noise : float
        Electrons.
    saturation_dn : float
        Level above bias at which pixels saturate, DN.
    overscan_extension : int, optional
        HDU of the overscan; the same as the pixels' when not given.
    overscan : Section, optional
        None when the amplifier has no overscan.
    flip_x, flip_y : bool
        Whether the stored array is mirrored relative to the quadrant's frame.
    read_flip_x, read_flip_y : bool
        Whether the quadrant's frame is mirrored relative to the order of readout, in which the first
        pixel read is at the origin. Cross-talk and overscan columns are matched in that order.
    stored_shape : tuple of int, optional
        (ny, nx) of the HDU that holds the pixels.
    overscan_used : tuple of int, optional
        First and one-past-last overscan column to use, zero-based in order of readout; all when not given.
    linearity : tuple of float
        (A, B) of true = x / (A x**2 + B x + 1), x in DN above bias.
    crosstalk : mapping of int to float
        Fraction of another quadrant's signal that appears here, by quadrant number.
    crosstalk_flips : mapping of int to tuple of bool
        (x, y): whether the other quadrant's frame must be mirrored so that pixels read at the same time
        have the same place as here.
    x_arcsec, y_arcsec : float
        Tangent-plane position of the quadrant's middle relative to the boresight: x east, y north.
    rotation_deg : float
        Of the quadrant's +y axis from north towards east.
    mirrored : bool
        True when +x points east for rotation 0 (default: +x points west, as seen on the sky).
    bad_columns : tuple of int
        Columns of the trimmed quadrant known to be bad.
    """

    quadrant: int
    extension: int
    data: Section
    gain: float
    read_noise: float
    saturation_dn: float
    overscan_extension: int | None = None
    overscan: Section | None = None
    flip_x: bool = False
    flip_y: bool = False
    read_flip_x: bool = False
    read_flip_y: bool = False
    stored_shape: tuple[int, int] | None = None
    overscan_used: tuple[int, int] | None = None
    linearity: tuple[float, float] = (0.0, 0.0)
    crosstalk: Mapping[int, float] = field(default_factory=dict)
    crosstalk_flips: Mapping[int, tuple[bool, bool]] = field(default_factory=dict)
    x_arcsec: float = 0.0
    y_arcsec: float = 0.0
    rotation_deg: float = 0.0
    mirrored: bool = False
    bad_columns: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the trimmed quadrant."""
        return self.data.y1 - self.data.y0, self.data.x1 - self.data.x0

    @property
    def sections(self) -> list[tuple[str, int, Section]]:
        """(``data`` or ``overscan``, HDU, section) of everything that is read of the amplifier."""
        found = [("data", self.extension, self.data)]
        if self.overscan is not None:
            extension = self.extension if self.overscan_extension is None else self.overscan_extension
            found.append(("overscan", extension, self.overscan))
        return found

    def read_order(self, array: NDArray[Any]) -> NDArray[Any]:
        """View of an array of the quadrant in the order its pixels were read; its own inverse."""
        return array[:: -1 if self.read_flip_y else 1, :: -1 if self.read_flip_x else 1]

    def read_with(self, quadrant: int, array: NDArray[Any]) -> NDArray[Any]:
        """View of another quadrant's array: each pixel where the one read at the same time lies here."""
        flip_x, flip_y = self.crosstalk_flips.get(quadrant, (False, False))
        return array[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


@dataclass(frozen=True)
class Detector:
    """One CCD: its number from 1, its amplifiers by quadrant number, and what headers call it."""

    ccd: int
    amplifiers: Mapping[int, Amplifier]
    name: str = ""


@dataclass(frozen=True)
class Band:
    """One filter.

    Parameters
    ----------
    id : int
        Number in packets (ZTF: 1 g, 2 r, 3 i).
    code : str
        Two letters for file names (``zg``).
    name : str
        As written in raw headers (``ZTF_g``).
    catalog_mag : str
        Column of the photometric reference catalog (``g``).
    catalog_colour : tuple of str
        The two columns whose difference is the colour of the colour term.
    """

    id: int
    code: str
    name: str
    catalog_mag: str
    catalog_colour: tuple[str, str]


@dataclass(frozen=True)
class Site:
    """Where the telescope stands: east longitude and latitude in degrees, height in metres, MPC code."""

    longitude_deg: float
    latitude_deg: float
    height_m: float
    mpc_code: str = "500"


@dataclass(frozen=True)
class Ghosts:
    """Out-of-focus images of bright stars, reflected to the other side of the optical axis.

    Parameters
    ----------
    radius_arcsec : float
        Of the disks.
    limit_mag : float
        Gaia G of the faintest stars that make one.
    """

    radius_arcsec: float
    limit_mag: float


@dataclass(frozen=True)
class Camera:
    """Everything the system knows of an instrument.

    Parameters
    ----------
    name : str
    prefix : str
        First part of file names.
    object_prefix : str
        First letters of object names; readers of ZTF packets expect ``ZTF``.
    pixel_scale_arcsec : float
    site : Site
    bands : mapping of str to Band
        By code.
    detectors : mapping of int to Detector
        By CCD number.
    keywords : mapping of str to tuple of str
        Our name of a header value -> the header's keywords, the preferred one first. Our names:
        ``start_time``, ``time_of_day``, ``exposure_s``, ``band``, ``field``, ``ra``, ``dec``, ``frame_type``,
        ``program_id``, ``program_pi``, ``airmass``, ``ccd``.
    frame_types : mapping of str to str
        Pattern of the header's value (``*`` matches anything) -> ``science``, ``bias``, ``dark`` or ``flat``.
    file_pattern : str
        Pattern of raw file names, with fields ``{prefix} {time} {field} {band} {ccd} {type}``.
    defaults : mapping of str to value
        Values, by our names, for headers that lack them.
    ghosts : Ghosts, optional
        None where the camera has no ghosts worth masking.
    exposure_unit_s : float
        Seconds in the unit of the header's exposure time.
    """

    name: str
    prefix: str
    object_prefix: str
    pixel_scale_arcsec: float
    site: Site
    bands: Mapping[str, Band]
    detectors: Mapping[int, Detector]
    keywords: Mapping[str, tuple[str, ...]]
    frame_types: Mapping[str, str]
    file_pattern: str
    defaults: Mapping[str, str | int | float] = field(default_factory=dict)
    ghosts: Ghosts | None = None
    exposure_unit_s: float = 1.0

    @property
    def one_file(self) -> bool:
        """Whether a raw file holds all detectors: there are several, and headers do not tell which."""
        return len(self.detectors) > 1 and "ccd" not in {*self.keywords, *self.defaults}

    def digest(self, ccd: int) -> str:
        """Twelve hexadecimal digits that change with anything the camera says of a detector."""
        return settings_hash(replace(self, detectors={ccd: self.detectors[ccd]}))

    def amplifier(self, ccd: int, quadrant: int) -> Amplifier:
        """The amplifier of a quadrant."""
        return self.detectors[ccd].amplifiers[quadrant]

    def channel(self, ccd: int, quadrant: int) -> int:
        """Readout channel from 0, ZTF's ``rcid`` = 4 (ccd - 1) + quadrant - 1."""
        per_ccd = max(max(detector.amplifiers) for detector in self.detectors.values())
        return per_ccd * (ccd - 1) + quadrant - 1

    def nominal_wcs(self, ccd: int, quadrant: int, ra: float, dec: float) -> WCS:
        """Undistorted WCS of a quadrant for a boresight at (ra, dec) degrees."""
        amplifier = self.amplifier(ccd, quadrant)
        ny, nx = amplifier.shape
        angle = np.radians(amplifier.rotation_deg)
        east = 1.0 if amplifier.mirrored else -1.0
        scale = self.pixel_scale_arcsec / 3600
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        cd = scale * turn @ np.diag([east, 1.0])
        offset = np.linalg.solve(cd, np.array([amplifier.x_arcsec, amplifier.y_arcsec]) / 3600)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crval = [ra, dec]
        wcs.wcs.crpix = [(nx + 1) / 2 - offset[0], (ny + 1) / 2 - offset[1]]
        wcs.wcs.cd = cd
        wcs.wcs.radesys = "ICRS"
        wcs.pixel_shape = (nx, ny)
        wcs.wcs.set()
        return wcs
