"""The cutouts of a quadrant's candidates, kept between the subtraction and the packets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zsds.alerts import Stamps
from zsds.core.errors import BadInput
from zsds.io.files import written_whole

SCHEMA = pa.schema(
    [("candid", pa.int64()), ("science", pa.binary()), ("template", pa.binary()), ("difference", pa.binary())]
)


def write_stamps(path: Path, stamps: Mapping[int, Stamps]) -> None:
    """Write the cutouts by candid; they are compressed already."""
    rows = [
        {"candid": candid, "science": s.science, "template": s.template, "difference": s.difference}
        for candid, s in sorted(stamps.items())
    ]
    with written_whole(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary, compression="none")


CUTOUT_SCHEMA = pa.schema([("candid", pa.int64()), ("cutout", pa.binary())])


def write_cutouts(path: Path, cutouts: Mapping[int, bytes]) -> None:
    """Write the cutouts of our own schema by candid; they are compressed already."""
    rows = [{"candid": candid, "cutout": cutout} for candid, cutout in sorted(cutouts.items())]
    with written_whole(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=CUTOUT_SCHEMA), temporary, compression="none")


def read_cutouts(path: Path) -> dict[int, bytes]:
    """Inverse of `write_cutouts`.

    Raises
    ------
    BadInput
        If the file is missing or damaged.
    """
    return {row["candid"]: row["cutout"] for row in _rows(path)}


def read_stamps(path: Path) -> dict[int, Stamps]:
    """Inverse of `write_stamps`.

    Raises
    ------
    BadInput
        If the file is missing or damaged.
    """
    return {row["candid"]: Stamps(row["science"], row["template"], row["difference"]) for row in _rows(path)}


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
    except FileNotFoundError as error:
        raise BadInput(str(path), "no such file", "make the difference again") from error
    except pa.ArrowInvalid as error:
        raise BadInput(str(path), "is damaged", "make the difference again") from error
    return rows
