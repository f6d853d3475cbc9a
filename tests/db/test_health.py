"""What zsds doctor tells of a database: what it is, and that it can be written."""

import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from zsds.core.errors import BadInput
from zsds.db import Database, create_database
from zsds.db import health as module
from zsds.db.health import filesystem_of, health_of

MOUNTS = """
/dev/vda / ext4 rw 0 0
proc /proc proc rw 0 0
server:/export /data nfs4 rw 0 0
/dev/vdb /data/local xfs rw 0 0
"""


def test_a_good_database(database):
    health = health_of(database)
    assert health.remedy == ""
    with database.read() as connection:
        name = {"sqlite": "SQLite 3.", "postgresql": "PostgreSQL 1"}[connection.dialect.name]
    assert name in health.found


def test_a_file_on_a_network_file_system(sqlite_url, tmp_path, monkeypatch):
    database = create_database(sqlite_url)
    monkeypatch.setattr(module, "filesystem_of", lambda _: "nfs4")
    health = health_of(database)
    database.close()
    assert health.found == "SQLite on nfs4"
    assert "use PostgreSQL" in health.remedy


@pytest.mark.parametrize(
    ("folder", "kind"), [("/data/survey", "nfs4"), ("/data/local/survey", "xfs"), ("/database", "ext4")]
)
def test_kind_of_a_file_system(tmp_path, folder, kind):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS.lstrip())
    assert filesystem_of(Path(folder), mounts) == kind
    assert filesystem_of(Path(folder), tmp_path / "none") == ""


@pytest.mark.services
def test_a_user_without_rights(postgres):
    url = postgres.new_database()
    owner = create_database(url)
    guest = f"guest_{os.getpid()}"
    with owner.write() as connection:
        connection.execute(sa.text(f"CREATE ROLE {guest} LOGIN PASSWORD '{postgres.password}'"))
        connection.execute(sa.text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {guest}"))
    with pytest.raises(BadInput, match=r"cannot be written \(permission denied for table units\); grant"):
        health_of(Database(url.replace("zsds@", f"{guest}@")))
    owner.close()


@pytest.mark.services
def test_a_server_too_old(postgres, monkeypatch):
    monkeypatch.setattr(module, "OLDEST_POSTGRESQL", 99)
    database = create_database(postgres.new_database())
    assert "upgrade it to PostgreSQL 99" in health_of(database).remedy
    database.close()
