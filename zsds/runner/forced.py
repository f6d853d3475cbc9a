"""Fluxes of objects at their fixed positions in the difference images of the last days.

A flux depends on the position of the object and on the image alone. So it is measured when a packet first
needs it, in windows of the stored image, and kept in the database: later packets of the object measure only
what is new, and whoever comes first finds the same.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from astropy.table import Table

from zsds.alerts.forced import NEAREST, ForcedPoint
from zsds.astrometry.inverse import SkyMap
from zsds.candidates.match import nearest
from zsds.core.errors import BadInput
from zsds.core.ids import QuadrantId
from zsds.core.plain import storable
from zsds.core.sphere import unit_vectors
from zsds.db.forced import forced_of, save_forced
from zsds.forced import measure_windows, nearest_pixels
from zsds.io.windows import open_windows
from zsds.products import ReferenceId
from zsds.runner.archive import Archive

log = logging.getLogger(__name__)

NEAREST_ARCSEC = 5.0
_STAR_COLUMNS = dict(zip(NEAREST[1:], ("ra", "dec", "mag", "mag_err", "chi", "sharp"), strict=True))

Images = Sequence[Mapping[str, Any]]
Key = tuple[str, int]


def forced_histories(
    archive: Archive, objects: Table, images: Sequence[Images]
) -> list[list[ForcedPoint] | None]:
    """The forced photometry of each object, by time.

    Parameters
    ----------
    archive : Archive
    objects : Table
        Declared as ``objects``; a name may come more than once.
    images : sequence of sequences of mapping
        For each, the rows of the coverage whose images contain it; those that are gone are left out, unless
        its flux in them is known from before.

    Returns
    -------
    list of list of ForcedPoint, or None for bodies of the Solar System, which have no fixed position
    """
    wanted = {
        (str(row["id"]), image["pid"]): (n, image)
        for n, (row, seen) in enumerate(zip(objects, images, strict=True))
        if not row["designation"]
        for image in seen
        if _facts(image)
    }
    known = _known(archive, wanted)
    todo: dict[int, list[Key]] = {}
    for key in sorted(wanted.keys() - known.keys()):
        todo.setdefault(key[1], []).append(key)
    stars: dict[str, Table | None] = {}
    new: dict[Key, dict[str, Any]] = {}
    for pid in sorted(todo):
        image = wanted[todo[pid][0]][1]
        new |= _measured(archive, image, objects[[wanted[key][0] for key in todo[pid]]], stars)
    if new:
        with archive.database.write() as connection:
            save_forced(connection, list(new.values()))
    known |= new
    return [
        None if row["designation"] else _points(str(row["id"]), seen, known)
        for row, seen in zip(objects, images, strict=True)
    ]


def _facts(image: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the difference unit says of an image; None for one made before it said so."""
    facts: Mapping[str, Any] | None = (image["record"] or {}).get("image")
    return facts


def _known(
    archive: Archive, wanted: Mapping[Key, tuple[int, Mapping[str, Any]]]
) -> dict[Key, dict[str, Any]]:
    """Fluxes measured before in the images as they are now."""
    if not wanted:
        return {}
    since = min(image["jd"] for _, image in wanted.values())
    with archive.database.read() as connection:
        rows = forced_of(connection, {name for name, _ in wanted}, since)
    found = {(row["object_id"], row["pid"]): row for row in rows}
    return {
        key: row
        for key, row in found.items()
        if key in wanted and row["version"] == wanted[key][1]["record"]["image"]["version"]
    }


def _measured(
    archive: Archive, image: Mapping[str, Any], objects: Table, stars: dict[str, Table | None]
) -> dict[Key, dict[str, Any]]:
    """Rows of the table ``forced_fluxes`` of objects in one image; none if the image is gone or damaged."""
    facts = image["record"]["image"]
    places = SkyMap.from_values(facts["sky"])(objects["ra"], objects["dec"])
    try:
        windows = open_windows(archive.store, QuadrantId.parse(image["unit"]))
        pixels = nearest_pixels(places, windows.difference.shape)
        data, errors = windows.around(*pixels.T.tolist(), facts["gain"])
    except BadInput as error:
        log.info("no forced photometry in %s: %s", image["unit"], error)
        return {}
    fluxes = measure_windows(data, errors, places, pixels, windows.psf, facts["own_noise"])
    near = _nearest(archive, facts["reference"], objects, stars)
    of_image = {"jd": image["jd"], "pid": image["pid"], "version": facts["version"]}
    return {
        (str(name), image["pid"]): storable(
            {"object_id": str(name), **of_image, **vars(found), "nearest": source}
        )
        for name, found, source in zip(objects["id"], fluxes, near, strict=True)
    }


def _nearest(
    archive: Archive, reference: Mapping[str, Any], objects: Table, stars: dict[str, Table | None]
) -> list[dict[str, float] | None]:
    """The source of the reference's catalog near each object; None where there is none."""
    key = str(reference)
    if key not in stars:
        try:
            identifier = ReferenceId(**reference)
            stars[key] = archive.store.load_table("reference_psf_catalog", identifier, "stars")
        except BadInput as error:
            log.info("no sources of the reference near forced photometry: %s", error)
            stars[key] = None
    catalog = stars[key]
    if catalog is None:
        return [None] * len(objects)
    near = nearest(unit_vectors(objects["ra"], objects["dec"]), catalog, NEAREST_ARCSEC, 1)
    found: list[dict[str, float] | None] = []
    for row, distance in zip(near.row[:, 0].tolist(), near.distance[:, 0].tolist(), strict=True):
        values = {name: float(catalog[column][row]) for name, column in _STAR_COLUMNS.items()}
        found.append({"distnr": distance, **values} if row >= 0 else None)
    return found


def _points(name: str, images: Images, known: Mapping[Key, Mapping[str, Any]]) -> list[ForcedPoint]:
    points = []
    for image in images:
        row = known.get((name, image["pid"]))
        if row is not None:
            measured = (row[key] for key in ("flux", "flux_err", "bad_fraction", "status", "nearest"))
            points.append(ForcedPoint(*measured, facts=image["record"]))
    return points
