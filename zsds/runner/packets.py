"""Named candidates to alert packets."""

from collections.abc import Mapping
from typing import Any

from zsds.alerts import Past, build_packet, candidate_records
from zsds.associate.history import Epoch, History
from zsds.core.ids import QuadrantId
from zsds.core.programs import programs_shown
from zsds.db.history import histories_of
from zsds.db.objects import names_of
from zsds.io.files import write_bytes
from zsds.io.packets import encode_packet
from zsds.io.stamps import read_stamps
from zsds.pipeline.settings import Settings
from zsds.runner.archive import Archive


def run_packets(
    key: str,
    inputs: Mapping[str, Any],  # noqa: ARG001
    archive: Archive,
    settings: Settings,  # noqa: ARG001
) -> Mapping[str, Any]:
    """Make the packets of one quadrant, whose candidates are named and in the database."""
    identifier = QuadrantId.parse(key)
    store = archive.store
    found = store.load_table("candidates", identifier, "candidates")
    found = found[found["is_alert"]]
    facts = store.load_json("difference_metrics", identifier)["facts"]
    stamps = read_stamps(store.path("stamps", identifier))
    epoch = Epoch(facts["jd"], facts["field"], facts["rcid"])
    with archive.database.read() as connection:
        names = names_of(connection, found["candid"].tolist())
        shown = programs_shown(facts["programid"])
        histories = histories_of(connection, found["ra"], found["dec"], epoch, program_ids=shown)
    for record, history in zip(candidate_records(found, facts), histories, strict=True):
        candid = int(record["candid"])
        packet = build_packet(record, names[candid], _rows(history), _past(history), stamps[candid])
        write_bytes(store.path("packet", candid), encode_packet(packet))
    return {"n_packets": len(found)}


def _rows(history: History) -> list[Mapping[str, Any]]:
    """What the packet shows of each earlier epoch: the record kept with the detection or the coverage."""
    return [{**(row.get("record") or {}), "candid": row.get("candid")} for row in history.previous]


def _past(history: History) -> Past:
    return Past(history.n_detections, history.n_covered, history.first_jd, history.last_jd)
