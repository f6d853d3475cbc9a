"""An archive in use: its store, camera, database and reference catalogs together."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from zsds.catalogs import CatalogStore
from zsds.core.camera import Camera
from zsds.core.camera_file import load_camera
from zsds.db import Database, open_database
from zsds.io.store import Store


@dataclass(frozen=True)
class Archive:
    """What every run needs of an archive.

    Parameters
    ----------
    store : Store
    camera : Camera
    """

    store: Store
    camera: Camera

    @cached_property
    def database(self) -> Database:
        """The operations database, opened at first use."""
        return open_database(self.store.database_url)

    @cached_property
    def catalogs(self) -> CatalogStore:
        """The local reference catalogs."""
        return CatalogStore(self.store.root / "catalogs")


def open_archive(folder: Path) -> Archive:
    """Open an archive.

    Raises
    ------
    BadInput
        If there is none, or its camera file is wrong.
    """
    store = Store.open(folder)
    return Archive(store, load_camera(store.camera))
