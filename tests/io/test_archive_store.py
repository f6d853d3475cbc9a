"""The archive: made, opened, and filled with products that appear whole or not at all."""

import math
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests.io.test_images import ID, make_exposure
from zsds.core.errors import BadInput
from zsds.io.store import STAGING, Store


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "archive", "demo")


def test_create_and_open(store):
    again = Store.open(store.root)
    assert again == store
    assert again.camera == "demo"
    assert again.database_url == f"sqlite:///{store.root}/zsds.sqlite"


def test_other_databases_are_left_as_given(tmp_path):
    for url in ("postgresql+psycopg://host/zsds", "sqlite:////var/zsds.sqlite"):
        store = Store.create(tmp_path / url[:4], "ztf", url)
        assert Store.open(store.root).database_url == url


@pytest.mark.parametrize("name", ["mine.yaml", "mine.txt"])
def test_own_camera_file_is_copied(tmp_path, name):
    (tmp_path / name).write_text("name: mine\n")
    store = Store.create(tmp_path / "archive", str(tmp_path / name))
    assert store.camera == str(store.root / "camera.yaml")
    assert (store.root / "camera.yaml").read_text() == "name: mine\n"


def test_create_refuses_an_archive_and_a_full_folder(store, tmp_path):
    with pytest.raises(BadInput, match="is an archive already"):
        Store.create(store.root, "demo")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(BadInput, match="not an empty folder"):
        Store.create(tmp_path / "full", "demo")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "zsds init"),
        ("layout: [1", "not YAML"),
        ("layout: 1\n", "needs layout, camera and database"),
        ("just text", "needs layout"),
        ("layout: 99\ncamera: demo\ndatabase: x\n", "upgrade zsds"),
    ],
)
def test_open_says_what_is_wrong(tmp_path, text, message):
    if text is not None:
        (tmp_path / "zsds.yaml").write_text(text)
    with pytest.raises(BadInput, match=message) as error:
        Store.open(tmp_path)
    assert "\n" not in str(error.value)


def test_products_of_a_unit_appear_together(store):
    with store.unit(f"science-{ID}") as staging:
        staging.save_exposure("science", ID, make_exposure())
        staging.save_json(
            "science_metrics", ID, {"seeing": np.float32(2.5), "bad": math.nan, "n": np.int64(3)}
        )
        assert not store.path("science", ID).is_file()
    assert store.load_exposure("science", ID).info.id == ID
    assert store.load_json("science_metrics", ID) == {"seeing": 2.5, "bad": None, "n": 3}
    assert list((store.root / STAGING).iterdir()) == []


def test_nothing_appears_when_a_unit_fails(store):
    with pytest.raises(RuntimeError), store.unit("u") as staging:
        staging.save_exposure("science", ID, make_exposure())
        raise RuntimeError
    assert not store.path("science", ID).is_file()
    assert not (store.root / "sci").exists()


def test_cleaning_removes_the_dead_and_spares_the_living(store):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    here, gone = socket.gethostname(), dead.stdout.strip().decode()
    names = [f"dead-{here}-{gone}", f"far-x-{here}.org-{gone}", "forgotten-elsewhere-1"]
    with store.unit("live") as staging:
        staging.save_json("science_metrics", ID, {})
        for name in names:
            (store.root / STAGING / name).mkdir()
        os.utime(store.root / STAGING / names[2], (0, 0))
        assert store.clean_staging() == [names[0], names[2]]


def test_missing_and_damaged_metrics(store):
    with pytest.raises(BadInput, match="no such file"):
        store.load_json("science_metrics", ID)
    store.save_json("science_metrics", ID, {}).write_text("{")
    with pytest.raises(BadInput, match="JSON"):
        store.load_json("science_metrics", ID)


KILLED = """
import os, sys
from pathlib import Path
from tests.io.test_images import ID, make_exposure
from zsds.io.store import Store
with Store.open(Path(sys.argv[1])).unit("killed") as staging:
    staging.save_exposure("science", ID, make_exposure())
    os._exit(9)
"""


def test_a_killed_process_leaves_only_staging(store):
    result = subprocess.run([sys.executable, "-c", KILLED, str(store.root)], check=False)
    assert result.returncode == 9
    assert not (store.root / "sci").exists()
    assert len(store.clean_staging()) == 1
    assert list((store.root / STAGING).iterdir()) == []
