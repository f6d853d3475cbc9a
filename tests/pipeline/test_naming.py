"""Names: one source one name, the same in every run, whoever comes first."""

import multiprocessing

import numpy as np
import pytest
import sqlalchemy as sa

from zsds.core.tables import new_table
from zsds.db import Database, create_database
from zsds.db.schema import detections as detection_table
from zsds.db.schema import objects as object_table
from zsds.pipeline.naming import NamingSettings, name_exposure

ARCSEC = 1 / 3600
SETTINGS = NamingSettings()
JD = 2460695.647


@pytest.fixture
def database(tmp_path):
    database = create_database(f"sqlite:///{tmp_path / 'zsds.sqlite'}")
    yield database
    database.close()


def make(dec, pid=294114733215, ra=30.0, snr=10.0, jd=JD):
    table = new_table("detections", len(dec))
    table["candid"] = pid * 10**6 + 10000 + np.arange(len(dec))
    table["pid"] = pid
    table["jd"] = jd
    table["ra"] = ra
    table["dec"] = dec
    table["snr"] = snr
    table["field"], table["channel"], table["band_id"], table["program_id"] = 249, 32, 1, 1
    return table


def name(database, table, designations=None, alert=True, settings=SETTINGS):
    is_alert = np.broadcast_to(alert, len(table))
    with database.write() as connection:
        named = name_exposure(connection, table, designations or [""] * len(table), is_alert, settings)
    return named["object_id"].tolist()


def count(database, table):
    with database.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table))


def test_new_names_count_upward_in_order_of_candid(database):
    table = make([1.0, 2.0, 3.0])[[2, 0, 1]]
    assert name(database, table) == ["ZTF25aaaaaac", "ZTF25aaaaaaa", "ZTF25aaaaaab"]
    assert count(database, detection_table) == 3


def test_a_later_exposure_finds_the_object_at_its_fixed_place(database):
    first = name(database, make([1.0]))
    assert name(database, make([1.0 + 1.4 * ARCSEC], pid=294214733215, jd=JD + 1)) == first
    drifted = make([1.0 + 2.8 * ARCSEC], pid=294314733215, jd=JD + 2)
    assert name(database, drifted) != first


def test_the_nearest_object_wins(database):
    a, b = name(database, make([1.0, 1.0 + 2.0 * ARCSEC]))
    assert a != b
    assert name(database, make([1.0 + 1.2 * ARCSEC], pid=294214733215)) == [b]
    assert name(database, make([1.0 + 0.8 * ARCSEC], pid=294314733215)) == [a]


def test_naming_again_gives_the_same_names(database):
    table = make([1.0, 1.0 + 1.0 * ARCSEC, 1.0 + 2.2 * ARCSEC, 2.0])
    first = name(database, table)
    assert first[0] == first[1]
    assert name(database, table) == first
    assert count(database, object_table) == len(set(first))
    assert count(database, detection_table) == 4


def test_a_fresh_run_gives_the_same_names(tmp_path):
    runs = []
    for run in "ab":
        database = create_database(f"sqlite:///{tmp_path / run}.sqlite")
        runs.append([name(database, make([1.0, 2.0, 2.1], pid=294114733215 + k * 10**8)) for k in range(3)])
        database.close()
    assert runs[0] == runs[1]


def test_a_reprocessed_candid_that_is_another_source_now_is_named_anew(database):
    first = name(database, make([1.0, 2.0]))
    assert name(database, make([2.0])) == [first[1]]
    assert count(database, detection_table) == 1


def test_solar_system_bodies_keep_their_name_and_leave_the_fixed_sky_alone(database):
    star = name(database, make([1.0]))[0]
    body = name(database, make([1.0], pid=294214733215), ["2019 AB"])[0]
    assert body != star
    elsewhere = name(database, make([5.0, 6.0], pid=294314733215), ["2019 AB", ""])
    assert elsewhere[0] == body
    assert elsewhere[1] not in (star, body)
    assert name(database, make([5.0], pid=294414733215)) != [body]
    assert name(database, make([1.0], pid=294514733215)) == [star]
    assert name(database, make([1.0], pid=294214733215), ["2019 AB"]) == [body]


def test_what_becomes_no_packet_joins_and_founds_nothing(database):
    packet = name(database, make([1.0]))
    others = make([1.0, 2.0], pid=294214733215, jd=JD + 1)
    assert name(database, others, alert=False) == [packet[0], ""]
    assert name(database, make([2.0], pid=294314733215), ["2019 AB"], alert=False) == [""]
    assert count(database, object_table) == 1
    assert count(database, detection_table) == 4


def test_packets_found_before_what_only_joins_whatever_their_candids(database):
    artefact, packet = name(database, make([1.0, 1.0 + 1.0 * ARCSEC]), alert=[False, True])
    assert artefact == packet
    with database.read() as connection:
        assert connection.scalar(sa.select(object_table.c.dec)) == 1.0 + 1.0 * ARCSEC


def test_exposures_done_again_do_not_see_what_later_ones_founded(database):
    nights = [
        (make([1.0, 5.0], jd=JD), False),
        (make([1.0], pid=294214733215, jd=JD + 1), True),
        (make([1.0], pid=294314733215, jd=JD + 2), False),
    ]
    first = [name(database, table, alert=alert) for table, alert in nights]
    assert first == [["", ""], ["ZTF25aaaaaaa"], ["ZTF25aaaaaaa"]]
    assert [name(database, table, alert=alert) for table, alert in nights] == first
    bodies = [name(database, table, ["2019 AB"] * len(table), alert) for table, alert in nights]
    assert bodies == [["", ""], ["ZTF25aaaaaab"], ["ZTF25aaaaaab"]]
    assert [name(database, table, ["2019 AB"] * len(table), alert) for table, alert in nights] == bodies


def test_a_packet_that_comes_late_is_the_object_a_later_exposure_founded(database):
    late = make([1.0], pid=294114733215, jd=JD)
    assert name(database, make([1.0], pid=294214733215, jd=JD + 1)) == name(database, late)


def test_the_overlap_of_two_quadrants_is_one_object(database):
    table = make([1.0, 1.0 + 0.5 * ARCSEC])
    table["candid"][1] += 10**10
    table["pid"][1] += 10000
    assert len(set(name(database, table))) == 1


def test_nothing_to_name(database):
    assert name(database, make([])) == []


def test_years_and_prefix(database):
    assert name(database, make([1.0], jd=2461041.5))[0].startswith("ZTF26")
    assert name(database, make([2.0], pid=1), settings=NamingSettings(prefix="DEM")) == ["DEM25aaaaaaa"]


def _name_in_a_process(url, pid, start, queue):
    database = Database(url)
    start.wait()
    for k in range(10):
        queue.put((k, name(database, make([1.0 + k], pid=pid + k * 10**8))[0]))
    database.close()


def test_processes_naming_at_once_give_one_source_one_name(database):
    context = multiprocessing.get_context("spawn")
    queue, start = context.Queue(), context.Event()
    processes = [
        context.Process(target=_name_in_a_process, args=(database.url, pid, start, queue))
        for pid in (294114733215, 294114743315)
    ]
    for process in processes:
        process.start()
    start.set()
    names = [queue.get(timeout=60) for _ in range(20)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(set(names)) == 10
    assert count(database, object_table) == 10
    assert count(database, detection_table) == 20
