"""Packets of a quadrant done again leave the outbox, but not those that went out already."""

import numpy as np

from zsds.core.tables import new_table
from zsds.db.objects import add_packets, packets_of, withdraw_packets
from zsds.db.schema import packets as packet_table
from zsds.pipeline.naming import NamingSettings, name_exposure

PID = 739260763115


def detections(n):
    table = new_table("detections", n)
    table["candid"][:] = PID * 10**6 + 15000 + np.arange(n)
    table["pid"][:] = PID
    table["jd"][:] = 2458493.76
    table["ra"][:], table["dec"][:] = 150 + 0.01 * np.arange(n), 20.0
    table["snr"][:] = 10
    return table


def test_only_unpublished_packets_that_are_gone_are_withdrawn(database):
    with database.write() as connection:
        named = name_exposure(connection, detections(4), [""] * 4, np.ones(4, bool), NamingSettings())
        rows = [
            {
                "candid": int(row["candid"]),
                "schema": "ztf",
                "object_id": str(row["object_id"]),
                "night": "20190110",
                "program_id": 1,
                "path": f"alerts/{row['candid']}.avro",
            }
            for row in named
        ]
        add_packets(connection, rows)
        first, second = (row["candid"] for row in rows[:2])
        connection.execute(
            packet_table.update().where(packet_table.c.candid == second).values(published=True)
        )
        withdraw_packets(connection, [PID], {"ztf": {first}})
    with database.read() as connection:
        assert [row["candid"] for row in packets_of(connection, "20190110")] == [first, second]


def test_other_quadrants_keep_theirs(database):
    with database.write() as connection:
        named = name_exposure(connection, detections(1), [""], np.ones(1, bool), NamingSettings())
        candid = int(named["candid"][0])
        row = {
            "candid": candid,
            "schema": "ztf",
            "object_id": str(named["object_id"][0]),
            "night": "20190110",
        }
        add_packets(connection, [{**row, "program_id": 1, "path": "a.avro"}])
        withdraw_packets(connection, [PID + 1], {})
        withdraw_packets(connection, [], {})
        assert [row["candid"] for row in packets_of(connection, "20190110")] == [candid]
