"""Where a product of an archive lies, by the names that people see."""

import re
from pathlib import Path

from zsds.core.errors import BadInput
from zsds.core.ids import QuadrantId
from zsds.io.store import Store
from zsds.products import CalibrationId, ProductId, ReferenceId

_PLACE = re.compile(r"([a-z0-9]+)_(\d{6}|\d{8})_([a-z]{2})_c(\d+)_q(\d+)(?:_v(\d+))?")


def find_product(archive: Path, product: str, name: str) -> Path:
    """Path of a product, there or not.

    Parameters
    ----------
    archive : pathlib.Path
    product : str
    name : str
        Quadrant id, candid, night, or the key of a calibration or reference; of these the newest version
        unless ``_v`` and a number follow.

    Raises
    ------
    BadInput
        If there is no such archive, name, or product for this sort of name.
    """
    store = Store.open(archive)
    place = _PLACE.fullmatch(name)
    try:
        if place is not None:
            version = place[6] and int(place[6])
            return _versioned(store, product, place, version)
        return store.path(product, _identifier(name), _prefix(store))
    except KeyError as error:
        raise BadInput(product, str(error.args[0]), "`zsds where list` lists all products") from error


def _prefix(store: Store) -> str:
    from zsds.core.camera_file import load_camera  # noqa: PLC0415 - seldom needed

    return load_camera(store.camera).prefix


def _identifier(name: str) -> QuadrantId | int | str:
    if name.isdigit():
        return name if len(name) == 8 else int(name)
    try:
        return QuadrantId.parse(name)
    except ValueError as error:
        raise BadInput(
            name or "the product's name", "is no quadrant, calibration, reference, candid or night",
            "see zsds status",
        ) from error  # fmt: skip


def _versioned(store: Store, product: str, place: re.Match[str], version: int | None) -> Path:
    """Path of one version; the newest on disk when none is named."""

    def path_of(number: int) -> Path:
        identifier: ProductId
        ccd, quadrant = int(place[4]), int(place[5])
        if len(place[2]) == 8:
            identifier = CalibrationId(place[2], place[3], ccd, quadrant, number, place[1])
        else:
            identifier = ReferenceId(int(place[2]), place[3], ccd, quadrant, number, place[1])
        return store.path(product, identifier)

    if version is None:
        first = path_of(1)
        made = [int(p.name[1:]) for p in first.parent.parent.glob("v[0-9]*") if p.is_dir()]
        version = max(made, default=1)
    return path_of(version)
