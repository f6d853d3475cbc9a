"""An archive whose night is done: small packets on the disk and in the outbox, without any image."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from zsds import alerts
from zsds.core.packet import AlertPacket
from zsds.db import create_database, ledger
from zsds.db.objects import add_objects, add_packets
from zsds.db.schema import coverage, detections, units
from zsds.io.files import write_bytes
from zsds.io.packets import encode_packet, read_packet
from zsds.io.store import Store
from zsds.products import PACKET_OF
from zsds.resources import resource
from zsds.runner.archive import Archive, open_archive

NIGHT = "20190110"
FIRST = 739260766315000000
JD = 2458493.7607
NAME = "ZTF19aaaaaaa"


def new_archive(folder: Path, database: str | None = None) -> Archive:
    """An empty archive of the demonstration camera."""
    store = Store.create(folder, "demo", database)
    create_database(store.database_url).close()
    archive = open_archive(folder)
    with archive.database.write() as connection:
        name = {"id": NAME, "ra": 10, "dec": -20, "first_candid": FIRST, "first_jd": JD, "designation": None}
        add_objects(connection, [name])
    return archive


def add_quadrant(
    archive: Archive,
    candids: Iterable[int],
    program: int = 1,
    night: str = NIGHT,
    done: bool = True,
    schemas: Iterable[str] = ("ztf",),
) -> list[int]:
    """Packets of a quadrant; ``done`` says whether its unit has made them all."""
    candids = list(candids)
    unit = f"quadrant_{candids[0]}"
    with archive.database.write() as connection:
        connection.execute(coverage.insert(), _coverage(candids[0], unit, program))
        ledger.add_units(connection, "packets", night, [unit])
        connection.execute(detections.insert(), [_detection(c, candids[0], program) for c in candids])
        common = {"object_id": NAME, "night": night, "program_id": program}
        files = {(c, s): archive.store.path(PACKET_OF[s], c) for c in candids for s in schemas}
        paths = {key: str(file.relative_to(archive.store.root)) for key, file in files.items()}
        rows = [{"candid": c, "schema": s, "path": path, **common} for (c, s), path in paths.items()]
        add_packets(connection, rows)
    for (candid, schema), file in files.items():
        write_bytes(file, encode_packet(MAKERS[schema](candid, program)))
    if done:
        finish_quadrant(archive, candids[0])
    return candids


def finish_quadrant(archive: Archive, first: int, state: str = "done") -> None:
    """Set the state of a quadrant's unit."""
    with archive.database.write() as connection:
        here = units.c.key == f"quadrant_{first}"
        connection.execute(units.update().where(here).values(state=state))


def packet(candid: int, program: int = 1, history: Iterable[int] = ()) -> AlertPacket:
    """A packet of a few kB with epochs of the given programs in its history; objects repeat every tenth."""
    record = dict(_record())
    record["candid"] = candid
    record["objectId"] = f"ZTF19aaaaaa{chr(97 + candid % 10)}"
    record["candidate"] = {**record["candidate"], "candid": candid, "programid": program}
    epoch = record["prv_candidates"][0]
    record["prv_candidates"] = [{**epoch, "programid": one} for one in history] or None
    return AlertPacket(record, "4.02")


def own_packet(candid: int, program: int = 1, history: Iterable[int] = (), forced: Iterable[int] = ()):
    """A packet of our schema with detections and forced fluxes of the given programs in its past."""
    sample = _sample()
    record = {**sample.record, "candid": candid, "objectId": f"ZTF19aaaaaa{chr(97 + candid % 10)}"}
    record["exposure"] = {**record["exposure"], "program_id": program}
    epoch = {
        "candid": FIRST, "pid": 1, "start_mjd": 58492.0, "mid_mjd": None, "band_id": 1, "ra": 10.0,
        "dec": -20.0, "flux": 9e3, "flux_err": 9e2,
    }  # fmt: skip
    record["previous_detections"] = [{**epoch, "program_id": one} for one in history]
    flux = {**record["forced"][0], "program_id": program}
    record["forced"] = [flux, *({**flux, "program_id": one} for one in forced)]
    return AlertPacket({**record, "cutout": None}, sample.schema_version)


MAKERS = {"ztf": packet, "zsds": own_packet}


@cache
def _sample() -> AlertPacket:
    return read_packet(resource("schemas", "alert", "zsds_1_0", "sample.avro"))


@cache
def _record() -> dict[str, Any]:
    image = np.zeros((80, 90), np.float32)
    base = {
        "jd": JD, "fid": 1, "pid": FIRST // 1000, "programid": 1, "diffmaglim": 20.5, "rfid": 505120101,
        "jdstartref": 2458000.5, "jdendref": 2458100.5, "nframesref": 20, "nmatches": 99,
    }  # fmt: skip
    now = {
        **base,
        "candid": FIRST,
        "isdiffpos": "t",
        "ra": 10.0,
        "dec": -20.0,
        "magpsf": 19.5,
        "sigmapsf": 0.1,
    }
    stamps = alerts.cut_stamps((image, image, image), 5, 40, 6.0, False)
    return dict(alerts.build_packet(now, NAME, [{**base, "jd": JD - 1}], stamps=stamps).record)


def _coverage(pid: int, unit: str, program: int) -> dict[str, Any]:
    return {
        "pid": pid, "unit": unit, "jd": JD, "band_id": 1, "field": 600, "channel": 0, "program_id": program,
        "corners": [],
    }  # fmt: skip


def _detection(candid: int, pid: int, program: int) -> dict[str, Any]:
    return {
        "candid": candid, "object_id": NAME, "pid": pid, "jd": JD, "band_id": 1, "field": 600, "channel": 0,
        "program_id": program, "positive": True, "ra": 10.0, "dec": -20.0, "ipix": 1, "snr": 9.0,
    }  # fmt: skip
