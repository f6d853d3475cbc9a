"""The rules of the source tree: imports point down, Dask stays in workflows, every flag has a meaning."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = {  # a module may import from layers with a smaller or the same number
    "resources": 0,
    "core": 0,
    "kernels": 0,
    "products": 0,
    "isr": 1,
    "extract": 1,
    "psf": 1,
    "astrometry": 1,
    "photometry": 1,
    "reference": 1,
    "subtract": 1,
    "candidates": 1,
    "forced": 1,
    "associate": 1,
    "alerts": 1,
    "io": 2,
    "catalogs": 2,
    "db": 2,
    "pipeline": 3,
    "sim": 3,
    "runner": 4,
    "report": 4,
    "cli": 5,
    "service": 5,
    "workflows": 5,
}
SOURCES = sorted(p for folder in ("zsds", "workflows") for p in (ROOT / folder).rglob("*.py"))


def layer_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts if parts[0] == "zsds" else ("zsds", *parts))
    return name.removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "zsds"}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    here = layer_of(module_of(path))
    for name in imports_of(path):
        if name.split(".")[0] in ("dask", "distributed", "dask_jobqueue"):
            assert here == "workflows", f"only workflows may import {name}"
        if not name.startswith("zsds."):
            continue
        there = layer_of(name)
        if there == "__version__":
            continue
        assert there in LAYERS, f"unknown folder {there}"
        if here and here in LAYERS:
            assert LAYERS[there] <= LAYERS[here], f"{here} must not import {name}"
        assert there != "workflows" or here == "workflows", f"{here} must not import workflows"
        if here == "kernels":
            assert there == "kernels", f"kernels must not import {name}"


def test_every_package_is_declared():
    declared = re.search(r"^packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.S | re.M).group(
        1
    )
    names = set(re.findall(r'"([\w.]+)"', declared))
    found = {module_of(p) for p in (ROOT / "zsds").rglob("__init__.py") if "migrations" not in p.parts} | {
        "zsds.calib",
        "zsds.refs",
        "zsds.schemas",
        "zsds.workflows",
        "zsds.workflows.cluster",
    }
    assert names == found


def test_no_file_is_long():
    for path in SOURCES:
        length = len(path.read_text().splitlines())
        assert length <= 500, f"{path.relative_to(ROOT)} has {length} lines"


def test_every_test_file_has_its_own_name():
    names = [p.name for p in (ROOT / "tests").rglob("*.py") if p.name not in ("conftest.py", "__init__.py")]
    assert sorted(names) == sorted(set(names))  # pytest imports them by their bare names
