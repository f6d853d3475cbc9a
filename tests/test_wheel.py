"""The wheel carries cameras, schemas and workflows, and works from another folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("calib", "refs", "schemas", "workflows")
SHIPPED_SUFFIXES = (".yaml", ".avsc", ".avro", ".json", ".py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing left in the source tree can slip in."""
    source = tmp_path_factory.mktemp("source") / "zsds"
    ignored = shutil.ignore_patterns(".*", "demo", "build", "dist", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(ROOT, source, ignore=ignored)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(out.glob("*.whl"))


def test_wheel_holds_every_shipped_file(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = [p for folder in SHIPPED for p in (ROOT / folder).rglob("*") if p.suffix in SHIPPED_SUFFIXES]
    assert len(shipped) > 20
    assert {f"zsds/{p.relative_to(ROOT)}" for p in shipped} <= names


def test_installed_wheel_finds_its_files_from_elsewhere(wheel, tmp_path):
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    code = (
        "from zsds.core.alert_schema import alert_schema; from zsds.core.camera_file import load_camera; "
        "import zsds.workflows, zsds; print(alert_schema()['name'], load_camera('demo').name, zsds.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["ztf.alert", "demo", str(target / "zsds" / "__init__.py")]
