"""A database of its own for every test."""

import pytest

from zsds.db import create_database


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'zsds.sqlite'}"


@pytest.fixture
def database(url):
    database = create_database(url)
    yield database
    database.close()
