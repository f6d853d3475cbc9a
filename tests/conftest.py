"""Fixtures every test may use."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real images, packets and tables; absent from a user's clone, so such tests skip there."""
    if not SHARED.is_dir():
        pytest.skip("real data are not at hand (../shared/data)")
    return SHARED
