"""The archive on disk: ``zsds.yaml`` and the product tree, where products appear whole or not at all."""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml
from astropy.table import Table
from numpy.typing import NDArray

from zsds import products
from zsds.core.camera_file import shipped_cameras
from zsds.core.errors import BadInput
from zsds.core.exposure import Exposure
from zsds.core.plain import storable
from zsds.io.files import share_file, write_bytes, written_whole
from zsds.io.headers import Cards
from zsds.io.images import (
    ImageSet,
    StoredExposure,
    open_exposure,
    read_exposure,
    write_exposure,
    write_plane,
)
from zsds.io.star_catalogs import write_psf_catalog
from zsds.io.tables import read_table, write_table
from zsds.io.tile_windows import SMALL_COLUMNS

LAYOUT = 1
SCORE_STEP = 1 / 32  # a score has noise 1: its variance grows by 0.008 %
CONFIGURATION = "zsds.yaml"
STAGING = ".partial"
FORGOTTEN_S = 86400.0  # a staging folder of another machine is left over when it is older than this
_SISTERS = {
    "science": ("science_uncertainty", "science_mask", "science_psf"),
    "difference": ("difference_uncertainty", "difference_mask", "difference_psf"),
    "reference": ("reference_uncertainty", "reference_mask", "reference_psf"),
    "bias": ("bias_uncertainty", "bias_mask", ""),
    "flat": ("flat_uncertainty", "flat_mask", ""),
}


class Products:
    """Loads and saves products by name below a folder."""

    root: Path

    def path(self, product: str, identifier: products.ProductId, prefix: str = "ztf") -> Path:
        """Where a product lies, or will lie."""
        return self.root / products.path(product, identifier, prefix)

    def image_set(self, product: str, identifier: products.ProductId) -> ImageSet:
        """The files of ``science``, ``difference``, ``reference``, ``bias`` or ``flat``."""
        image = self.path(product, identifier)
        unc, msk, psf = _SISTERS[product]
        psf_path = (
            self.path(psf, identifier) if psf else image.with_name(image.name.partition(".")[0] + "_psf.fits")
        )
        return ImageSet(image, self.path(unc, identifier), self.path(msk, identifier), psf_path)

    def save_exposure(
        self, product: str, identifier: products.ProductId, exposure: Exposure, cards: Cards | None = None
    ) -> Path:
        """Write an exposure with its sisters; returns the image file."""
        columns = SMALL_COLUMNS if product == "difference" else None
        return write_exposure(self.image_set(product, identifier), exposure, cards, columns).image

    def load_exposure(self, product: str, identifier: products.ProductId) -> Exposure:
        """Read an exposure with its sisters."""
        return read_exposure(self.image_set(product, identifier))

    def open_exposure(self, product: str, identifier: products.ProductId) -> StoredExposure:
        """An exposure whose pixels are read when they are wanted."""
        return open_exposure(self.image_set(product, identifier))

    def save_plane(
        self,
        product: str,
        identifier: products.ProductId,
        plane: NDArray[np.float32],
        exposure: Exposure,
        step: float = SCORE_STEP,
    ) -> Path:
        """Write one plane on the pixels of an exposure, such as a score image; returns its file."""
        path = self.path(product, identifier)
        write_plane(path, plane, step, exposure=exposure)
        return path

    def save_table(
        self,
        product: str,
        identifier: products.ProductId,
        table: Table,
        name: str,
        cards: Cards | None = None,
    ) -> Path:
        """Write a table declared as ``name``; returns its file."""
        path = self.path(product, identifier)
        write_table(path, table, name, cards)
        return path

    def save_psf_catalog(
        self,
        product: str,
        identifier: products.ProductId,
        stars: Table,
        exposure: Exposure,
        cards: Cards | None = None,
    ) -> Path:
        """Write the table ``stars`` with its twin in ZTF's layout; `load_table` reads ``stars`` back."""
        path = self.path(product, identifier)
        write_psf_catalog(path, stars, exposure, cards)
        return path

    def load_table(self, product: str, identifier: products.ProductId, name: str) -> Table:
        """Read a table declared as ``name``."""
        return read_table(self.path(product, identifier), name)

    def save_json(self, product: str, identifier: products.ProductId, values: Mapping[str, Any]) -> Path:
        """Write metrics, keys sorted; numbers that are not finite become null."""
        path = self.path(product, identifier)
        text = json.dumps(storable(values), indent=1, sort_keys=True, allow_nan=False) + "\n"
        write_bytes(path, text.encode())
        return path

    def load_json(self, product: str, identifier: products.ProductId) -> dict[str, Any]:
        """Read metrics."""
        path = self.path(product, identifier)
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise BadInput(str(path), "no such file", "make the product first") from error
        except ValueError as error:
            raise BadInput(str(path), f"not readable as JSON ({error})", "make the product again") from error
        return values


@dataclass(frozen=True)
class Tree(Products):
    """The archive's tree below another folder: products while they are made, or a version of them."""

    root: Path


@dataclass(frozen=True)
class Store(Products):
    """An archive that exists.

    Parameters
    ----------
    root : pathlib.Path
        Absolute.
    configuration : mapping
        What ``zsds.yaml`` says: ``layout``, ``camera``, ``database``.
    """

    root: Path
    configuration: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def create(cls, root: Path, camera: str, database: str | None = None) -> "Store":
        """Make a new archive in ``root``, which must not exist or be empty.

        Parameters
        ----------
        root : pathlib.Path
        camera : str
            Name of a shipped camera, or the path of a YAML file, which is copied into the archive.
        database : str, optional
            SQLAlchemy URL; SQLite inside the archive by default.

        Raises
        ------
        BadInput
            If the folder holds something, is no folder, or cannot be written.
        """
        root = Path(root).absolute()
        if (root / CONFIGURATION).exists():
            raise BadInput(
                str(root), "is an archive already", "use it with --archive, or choose another folder"
            )
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise BadInput(str(root), "is not an empty folder", "choose another folder")
        if camera not in shipped_cameras() and Path(camera).is_file():
            with written_whole(root / "camera.yaml") as temporary:
                shutil.copyfile(camera, temporary)
            camera = "camera.yaml"
        configuration = {"layout": LAYOUT, "camera": camera, "database": database or "sqlite:///zsds.sqlite"}
        write_bytes(root / CONFIGURATION, yaml.safe_dump(configuration, sort_keys=False).encode())
        return cls(root, configuration)

    def discard(self) -> None:
        """Undo `create`: remove the configuration, and the camera file copied with it."""
        for name in (CONFIGURATION, "camera.yaml"):
            (self.root / name).unlink(missing_ok=True)

    @classmethod
    def open(cls, root: Path) -> "Store":
        """Open an archive.

        Raises
        ------
        BadInput
            If there is none, its ``zsds.yaml`` is damaged, or a newer version of zsds made it.
        """
        root = Path(root).absolute()
        file = root / CONFIGURATION
        if not file.is_file():
            raise BadInput(str(root), "is not an archive (no zsds.yaml)", f"make one with: zsds init {root}")
        try:
            configuration = yaml.safe_load(file.read_text(encoding="utf-8"))
            layout = int(configuration["layout"])
            str(configuration["camera"]), str(configuration["database"])
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
            problem = (
                "needs layout, camera and database"
                if not isinstance(error, yaml.YAMLError)
                else "is not YAML"
            )
            raise BadInput(str(file), problem, "restore it from a backup") from error
        if layout > LAYOUT:
            raise BadInput(str(file), f"has layout {layout}, newer than {LAYOUT}", "upgrade zsds")
        return cls(root, configuration)

    @property
    def camera(self) -> str:
        """Name of a shipped camera, or the absolute path of the archive's own camera file."""
        name = str(self.configuration["camera"])
        return str(self.root / name) if name.endswith((".yaml", ".yml")) else name

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL; the path of an SQLite file is made absolute."""
        url = str(self.configuration["database"])
        scheme = "sqlite:///"
        if url.startswith(scheme) and not url.startswith(scheme + "/"):
            return scheme + str(self.root / url[len(scheme) :])
        return url

    @contextmanager
    def unit(self, name: str) -> Iterator[Tree]:
        """Stage the products of one unit; all move into place when the block ends well, none when it fails.

        Files move in alphabetical order except metrics, which come last: they mark a complete unit.
        """
        with self._staged(name) as folder:
            yield Tree(folder)
            made = [path for path in folder.rglob("*") if path.is_file()]
            for source in sorted(made, key=lambda path: (path.suffix == ".json", path)):
                target = self.root / source.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                source.replace(target)

    def keep(self, files: Iterable[Path], folder: PurePosixPath) -> None:
        """Keep files as they are now below a folder of the archive, in a tree like its own; once only.

        They take no room on the disk until their places are given to others.
        """
        kept = self.root / folder
        if kept.exists():
            return
        with self._staged(f"{kept.parent.name}-{kept.name}") as staged:
            staged.mkdir(parents=True)
            for file in files:
                share_file(file, staged / file.relative_to(self.root))
            kept.parent.mkdir(parents=True, exist_ok=True)
            try:
                staged.rename(kept)
            except OSError:
                if not kept.is_dir():  # else another process was faster
                    raise

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files, and folders of products, each as a whole; folders that get empty go too."""
        with self._staged("removed") as folder:
            folder.mkdir(parents=True)
            for number, path in enumerate(paths):
                path.rename(folder / str(number))
                _remove_empty(path.parent, self.root)

    @contextmanager
    def _staged(self, name: str) -> Iterator[Path]:
        """A folder that nobody reads, and that is gone at the end."""
        folder = self.root / STAGING / f"{name}-{socket.gethostname()}-{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def clean_staging(self) -> list[str]:
        """Remove what killed processes left behind, not what live ones are making; returns the names."""
        removed = []
        for folder in sorted((self.root / STAGING).glob("*")):
            if not _in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder.name)
        return removed


def _remove_empty(folder: Path, top: Path) -> None:
    with suppress(OSError):  # it holds something, perhaps since a moment
        while folder != top:
            folder.rmdir()
            folder = folder.parent


def _in_use(folder: Path) -> bool:
    """Whether a staging folder, whose name ends with host and process, belongs to somebody who lives."""
    name, _, pid = folder.name.rpartition("-")
    if name.endswith(f"-{socket.gethostname()}") and pid.isdigit():
        return is_alive(int(pid))
    try:
        return time.time() - folder.stat().st_mtime < FORGOTTEN_S
    except FileNotFoundError:
        return False


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def this_process() -> str:
    """Name of this process as owner of what it works on: host and process number."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_dead(owner: str) -> bool:
    """Whether an owner was a process of this machine that is no more."""
    host, _, pid = owner.rpartition(":")
    return host == socket.gethostname() and pid.isdigit() and not is_alive(int(pid))
