"""Finds the files shipped with the package: cameras, recipes, schemas, workflow settings."""

from importlib.resources import files
from pathlib import Path


def resource(package: str, *parts: str) -> Path:
    """Path of a shipped file.

    Parameters
    ----------
    package : str
        One of ``calib``, ``refs``, ``schemas``, ``workflows``.
    *parts : str
        Folders and file name below it.

    Returns
    -------
    pathlib.Path
        Where the file lies in this installation; it need not exist.
    """
    return Path(str(files(f"zsds.{package}"))).joinpath(*parts)
