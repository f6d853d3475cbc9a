"""Superseded versions of what belongs to a quadrant: kept when the next one is begun, and found again."""

from pathlib import Path

from zsds import products
from zsds.core.ids import QuadrantId
from zsds.core.scope import QUADRANT_STEPS
from zsds.io.store import Store, Tree

_NAMES = {"science": products.SCIENCE, "difference": products.DIFFERENCE}


def keep_version(store: Store, kind: str, key: str, version: int) -> None:
    """Keep the products of a unit as they are, as one of its versions; one that is kept already stays.

    A version is kept before the first file of the next one moves into place. So whenever an attempt is
    killed, the version before is whole.
    """
    if kind in QUADRANT_STEPS:  # calibrations and references have a folder for each version anyway
        identifier = QuadrantId.parse(key)
        store.keep(files_of(store, kind, identifier), products.superseded_path(kind, identifier, version))


def files_of(store: Store, kind: str, identifier: QuadrantId) -> list[Path]:
    """The files of a unit that are there now."""
    if kind == "packets":
        return [file for folder in packet_folders(store, identifier) for file in folder.glob("*.avro")]
    there = (store.path(name, identifier) for name in _NAMES[kind])
    return [path for path in there if path.is_file()]


def packet_folders(store: Store, identifier: QuadrantId) -> list[Path]:
    """Where the packets of a quadrant lie, those of ZTF's schema and of ours."""
    pid = store.load_json("difference_metrics", identifier)["facts"]["pid"]
    return [store.root / products.packet_folder(pid, product) for product in products.PACKET]


def find_version(store: Store, kind: str, identifier: QuadrantId, version: int) -> Tree:
    """The products of a superseded version, kept or not."""
    return Tree(store.root / products.superseded_path(kind, identifier, version))


def newest_kept(store: Store, kind: str, identifier: QuadrantId) -> int:
    """The newest superseded version that is kept, from 1; 0 where nothing is."""
    folder = store.root / products.superseded_path(kind, identifier, 1).parent
    return max((int(path.name[1:]) for path in folder.glob("v[0-9]*")), default=0)
