"""Where a product of an archive lies, by the names that people see."""

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from zsds import products
from zsds.core.errors import BadInput
from zsds.core.ids import CANDID_DIGITS, QuadrantId
from zsds.db import open_database
from zsds.db.ledger import State, Unit, unit_of
from zsds.io.store import Store
from zsds.products import CalibrationId, ReferenceId
from zsds.runner.versions import find_version

_VERSION = re.compile(r"_v(\d+)$")


def find_product(archive: Path, product: str, name: str) -> Path:
    """Path of a product, there or not.

    Parameters
    ----------
    archive : pathlib.Path
    product : str
    name : str
        Quadrant id, candid, night, or the key of a calibration or reference; of quadrants and these the
        newest version unless ``_v`` and a number follow.

    Raises
    ------
    BadInput
        If there is no such archive, name, version, or product for this sort of name.
    """
    store = Store.open(archive)
    asked = _VERSION.search(name)
    version = None if asked is None else int(asked[1])
    identifier = _identifier(_VERSION.sub("", name))
    try:
        if isinstance(identifier, QuadrantId):
            return _of_quadrant(store, product, identifier, version)
        if isinstance(identifier, CalibrationId | ReferenceId):
            return _of_channel(store, product, identifier, version)
        return store.path(product, identifier, _prefix(store))
    except KeyError as error:
        raise BadInput(product, str(error.args[0]), "`zsds where list` lists all products") from error


def _prefix(store: Store) -> str:
    from zsds.core.camera_file import load_camera  # noqa: PLC0415 - seldom needed

    return load_camera(store.camera).prefix


def _identifier(name: str) -> products.ProductId:
    if name.isdigit() and len(name) <= CANDID_DIGITS:
        return name if len(name) == 8 else int(name)
    for sort in (QuadrantId, CalibrationId, ReferenceId):
        with suppress(ValueError):
            return sort.parse(name)
    raise BadInput(
        name or "the product's name",
        "is no quadrant, calibration, reference, candid or night",
        "see zsds status",
    )


def _of_quadrant(store: Store, product: str, identifier: QuadrantId, version: int | None) -> Path:
    """Path in the archive's own tree, or in that of a version that is kept."""
    newest = store.path(product, identifier)
    if version is None:
        return newest
    kind = "science" if product in products.SCIENCE else "difference"
    kept = find_version(store, kind, identifier, version)
    if kept.root.is_dir():
        return kept.path(product, identifier)
    unit = _unit(store, kind, identifier)
    done = unit.version if unit.state is State.DONE else unit.version - 1
    if version == max(done, 1):
        return newest  # the newest that was done, or the first, which is to be
    problem = "has no version {}" if version > unit.version else "version {} is not kept any more"
    if version == unit.version:
        problem = f"version {{}} is {unit.state}" + (f" ({unit.reason})" if unit.reason else "")
    remedy = f"the newest {kind} that was done is version {done}" if done else "none was done yet"
    raise BadInput(str(identifier), problem.format(version), remedy)


def _unit(store: Store, kind: str, identifier: QuadrantId) -> Unit:
    database = open_database(store.database_url)
    try:
        with database.read() as connection:
            return unit_of(connection, kind, str(identifier))
    except KeyError:
        problem = "nothing of it was run in this archive"
        raise BadInput(str(identifier), problem, "see zsds status") from None
    finally:
        database.close()


def _of_channel(
    store: Store, product: str, identifier: CalibrationId | ReferenceId, version: int | None
) -> Path:
    """Path of one version; the newest on disk when none is named."""
    if version is None:
        first = store.path(product, identifier)
        made = [int(path.name[1:]) for path in first.parent.parent.glob("v[0-9]*") if path.is_dir()]
        version = max(made, default=1)
    return store.path(product, replace(identifier, version=version))
