"""Reads and writes raw CCD frames in a camera's own layout."""

import gzip
import io
import os
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from zsds.core.camera import Amplifier, Camera, Section
from zsds.core.errors import BadInput
from zsds.core.exposure import Info
from zsds.core.ids import file_time
from zsds.core.raw import RawCcd, RawQuadrant
from zsds.io.files import DAMAGE, MAY_READ, write_bytes
from zsds.io.raw_header import RawHeader, header_cards, read_header
from zsds.io.tiles import read_pixels

FRAME_LETTERS = {"science": "o", "bias": "b", "dark": "d", "flat": "f"}
OTHER_CAMERA = "use the camera file of this instrument and readout mode"


def read_raw(
    path: str | Path, camera: Camera, quadrants: Iterable[int] | None = None, ccd: int | None = None
) -> RawCcd:
    """Read one CCD of one exposure.

    Parameters
    ----------
    path : str or pathlib.Path
        FITS, plain, gzipped or tile-compressed (``.fz``).
    camera : Camera
    quadrants : iterable of int, optional
        The quadrants wanted; all when not given. Cross-talk needs the siblings too.
    ccd : int, optional
        The detector wanted of a file that holds them all; for other cameras the header tells.

    Returns
    -------
    RawCcd
        Pixels and overscan in DN, float32, in each quadrant's frame.

    Raises
    ------
    BadInput
        If the file is missing, empty, truncated, not FITS, of another shape, or if its header lacks or
        contradicts what the camera needs.
    """
    path = Path(path)
    _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*")
            with fits.open(path, memmap=False, lazy_load_hdus=True) as hdus:
                return _read(hdus, path, camera, quadrants, ccd)
    except Warning:
        raise BadInput(str(path), "the file is truncated", "fetch it again") from None
    except DAMAGE as error:
        raise _unreadable(path, error) from None


def read_raw_headers(path: str | Path, camera: Camera) -> list[RawHeader]:
    """Read and check the header of a raw frame, without its pixels, for each detector it holds.

    Raises
    ------
    BadInput
        As `read_raw` does.
    """
    path = Path(path)
    _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=False, lazy_load_hdus=True) as hdus:
                if not camera.one_file:
                    return [_header(hdus, path, camera, None)]
                return [_header(hdus, path, camera, ccd) for ccd in camera.detectors]
    except DAMAGE as error:
        raise _unreadable(path, error) from None


def check_raw(path: str | Path, camera: Camera) -> list[RawHeader]:
    """Check that a raw frame is whole and of the camera's shape, without its pixels; header by detector.

    Raises
    ------
    BadInput
        As `read_raw` does, for all that can be told without the pixels.
    """
    path = Path(path)
    headers = read_raw_headers(path, camera)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=False, disable_image_compression=True) as hdus:
                for header in headers:
                    _check_images(hdus, path, camera.detectors[header.ccd].amplifiers.values())
                _check_length(hdus, path)
    except DAMAGE as error:
        raise _unreadable(path, error) from None
    return headers


def _check_images(hdus: fits.HDUList, path: Path, amplifiers: Collection[Amplifier]) -> None:
    in_primary = any(amplifier.extension == 0 for amplifier in amplifiers)
    shift = int(in_primary and hdus[0].header.get("NAXIS", 0) == 0 and _has_hdu(hdus, 1))
    for amplifier in amplifiers:
        if not _has_hdu(hdus, amplifier.extension + shift):
            problem = f"has no extension {amplifier.extension}"
            raise BadInput(str(path), problem, "the file is truncated or of another camera; fetch it again")
        header = hdus[amplifier.extension + shift].header
        z = "Z" if "ZNAXIS" in header else ""
        shape = header.get(f"{z}NAXIS2", 0), header.get(f"{z}NAXIS1", 0)
        _check_shape(shape, amplifier, path)
        overscan = amplifier.sections[-1][1]
        if not _has_hdu(hdus, overscan + shift):
            raise BadInput(
                str(path), f"has no extension {overscan}", f"its overscan is there; {OTHER_CAMERA}"
            )


def _check_length(hdus: fits.HDUList, path: Path) -> None:
    """A file shorter than its headers say was cut off."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
    ends = [hdu.fileinfo()["datLoc"] + hdu.fileinfo()["datSpan"] for hdu in hdus]
    if length < max(ends):
        raise BadInput(str(path), f"is truncated: {length} of {max(ends)} bytes", "fetch it again")


def write_raw(path: str | Path, ccd: RawCcd, camera: Camera) -> None:
    """Write a CCD as the camera would have: the exact inverse of `read_raw`.

    Pixels are rounded to whole DN and kept within 0 to 65535 (unsigned 16 bits). ``.fz`` is compressed in
    tiles (Rice, lossless), ``.gz`` with gzip. The file appears only when it is complete.

    Parameters
    ----------
    path : str or pathlib.Path
    ccd : RawCcd
    camera : Camera
    """
    path = Path(path)
    first = next(iter(ccd.quadrants.values()))
    images = _stored_images(ccd, camera)
    cards = header_cards(first.info, ccd.frame_type, camera)
    buffer = io.BytesIO()
    _hdus(images, cards, compressed=path.suffix == ".fz").writeto(buffer)
    content = buffer.getvalue()
    write_bytes(path, gzip.compress(content, 4, mtime=0) if path.suffix == ".gz" else content)


def raw_file_name(info: Info, frame_type: str, camera: Camera) -> str:
    """Name of a raw file in the camera's own pattern."""
    return camera.file_pattern.format(
        prefix=camera.prefix,
        time=file_time(info.start_mjd),
        field=info.id.field,
        band=info.id.band,
        ccd=info.id.ccd,
        type=FRAME_LETTERS[frame_type],
    )


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise BadInput(str(path), "no such file", "check the path")
    if path.stat().st_size == 0:
        raise BadInput(str(path), "the file is empty", "fetch it again")


def _unreadable(path: Path, error: Exception) -> BadInput:
    """What to tell of a file that could not be read."""
    if isinstance(error, PermissionError):
        return BadInput(str(path), f"cannot be read: {error.strerror}", MAY_READ)
    text = str(error).strip() or type(error).__name__
    return BadInput(str(path), f"cannot be read as FITS: {text.splitlines()[0]}", "fetch it again")


def _header(hdus: fits.HDUList, path: Path, camera: Camera, ccd: int | None) -> RawHeader:
    if ccd is None and camera.one_file:
        raise BadInput(str(path), "holds several detectors", "say which")
    return read_header(_headers(hdus, camera, ccd), str(path), camera, ccd if camera.one_file else None)


def _read(
    hdus: fits.HDUList, path: Path, camera: Camera, wanted: Iterable[int] | None, ccd: int | None
) -> RawCcd:
    header = _header(hdus, path, camera, ccd)
    amplifiers = camera.detectors[header.ccd].amplifiers
    shift = _fpack_shift(hdus, camera)
    images: dict[int, NDArray[Any]] = {}
    quadrants = {}
    for quadrant in amplifiers if wanted is None else wanted:
        amplifier = amplifiers[quadrant]
        data, overscan = _cut(hdus, amplifier, shift, images, path)
        quadrants[quadrant] = RawQuadrant(data, overscan, header.info(camera, quadrant))
    return RawCcd(quadrants, header.frame_type)


def _headers(hdus: fits.HDUList, camera: Camera, ccd: int | None) -> list[fits.Header]:
    """The primary header, then that of the detector's first amplifier: where keywords are looked for."""
    detector = camera.detectors[next(iter(camera.detectors)) if ccd is None else ccd]
    first = next(iter(detector.amplifiers.values())).extension + _fpack_shift(hdus, camera)
    headers = [hdus[0].header]
    if first > 0 and _has_hdu(hdus, first):
        headers.append(hdus[first].header)
    return headers


def _has_hdu(hdus: fits.HDUList, index: int) -> bool:
    try:
        _ = hdus[index]
    except IndexError:
        return False
    return True


def _fpack_shift(hdus: fits.HDUList, camera: Camera) -> int:
    """1 if fpack had to move the pixels of the primary HDU to the first extension, else 0."""
    detector = next(iter(camera.detectors.values()))
    in_primary = any(amplifier.extension == 0 for amplifier in detector.amplifiers.values())
    if in_primary and hdus[0].header.get("NAXIS", 0) == 0 and _has_hdu(hdus, 1):
        return int(isinstance(hdus[1], fits.CompImageHDU))
    return 0


def _cut(
    hdus: fits.HDUList, amplifier: Amplifier, shift: int, images: dict[int, NDArray[Any]], path: Path
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    image = _image(hdus, amplifier.extension + shift, images, path)
    _check_shape(image.shape, amplifier, path)
    data = _turned(image, amplifier.data, amplifier)
    if amplifier.overscan is None:
        return data, np.zeros((data.shape[0], 0), dtype=np.float32)
    extension = amplifier.extension if amplifier.overscan_extension is None else amplifier.overscan_extension
    strip = _image(hdus, extension + shift, images, path)
    section = amplifier.overscan
    if section.x1 > strip.shape[1] or section.y1 > strip.shape[0]:
        problem = f"overscan in extension {extension} is only {strip.shape[1]} x {strip.shape[0]} pixels"
        raise BadInput(str(path), problem, OTHER_CAMERA)
    return data, _turned(strip, section, amplifier)


def _check_shape(shape: tuple[int, ...], amplifier: Amplifier, path: Path) -> None:
    if amplifier.stored_shape is not None and shape != amplifier.stored_shape:
        ny, nx = amplifier.stored_shape
        problem = f"extension {amplifier.extension} is {shape[1]} x {shape[0]} pixels, not {nx} x {ny}"
        raise BadInput(str(path), problem, OTHER_CAMERA)


def _image(hdus: fits.HDUList, index: int, images: dict[int, NDArray[Any]], path: Path) -> NDArray[Any]:
    if index not in images:
        if not _has_hdu(hdus, index):
            problem = f"has no extension {index}"
            raise BadInput(str(path), problem, "the file is truncated or of another camera")
        if hdus[index].header.get("NAXIS") != 2 or not hdus[index].is_image:
            raise BadInput(
                str(path), f"extension {index} holds no image", "use the camera file of this instrument"
            )
        images[index] = read_pixels(hdus[index])
    return images[index]


def _turned(image: NDArray[Any], section: Section, amplifier: Amplifier) -> NDArray[np.float32]:
    """Section of a stored image in the quadrant's frame, native float32."""
    cut = image[section.slices]
    cut = cut[:: -1 if amplifier.flip_y else 1, :: -1 if amplifier.flip_x else 1]
    return np.ascontiguousarray(cut, dtype=np.float32)


def _stored_images(ccd: RawCcd, camera: Camera) -> dict[int, NDArray[np.uint16]]:
    """The images of each HDU, in unsigned 16 bits."""
    images: dict[int, NDArray[np.uint16]] = {}
    for quadrant, raw in ccd.quadrants.items():
        amplifier = camera.amplifier(raw.info.id.ccd, quadrant)
        shape = amplifier.stored_shape or (amplifier.data.y1, amplifier.data.x1)
        _place(images, amplifier.extension, shape, amplifier.data, raw.data, amplifier)
        if amplifier.overscan is None:
            continue
        section = amplifier.overscan
        extension = amplifier.overscan_extension
        extension = amplifier.extension if extension is None else extension
        _place(images, extension, (section.y1, section.x1), section, raw.overscan, amplifier)
    return images


def _place(
    images: dict[int, NDArray[np.uint16]],
    extension: int,
    shape: tuple[int, int],
    section: Section,
    pixels: NDArray[np.float32],
    amplifier: Amplifier,
) -> None:
    image = images.setdefault(extension, np.zeros(shape, dtype=np.uint16))
    turned = pixels[:: -1 if amplifier.flip_y else 1, :: -1 if amplifier.flip_x else 1]
    image[section.slices] = np.clip(np.rint(turned), 0, 65535)


def _hdus(
    images: dict[int, NDArray[np.uint16]], cards: list[tuple[str, Any]], compressed: bool
) -> fits.HDUList:
    header = fits.Header(cards)
    if compressed:
        hdus: list[Any] = [fits.PrimaryHDU(header=None if 0 in images else header)]
    else:
        hdus = [fits.PrimaryHDU(images.get(0), header=header)]
    first = 0 if compressed and 0 in images else 1
    for extension in range(first, max(images) + 1):
        own = header if extension == 0 else None
        if extension not in images:
            hdus.append(fits.ImageHDU(header=own))
        elif compressed:
            hdus.append(fits.CompImageHDU(images[extension], header=own, compression_type="RICE_1"))
        else:
            hdus.append(fits.ImageHDU(images[extension]))
    return fits.HDUList(hdus)
