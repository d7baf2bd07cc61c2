"""Packages of the user's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.strange_code import write_package


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of an installed package that declares itself by an entry point of the group `hemai`."""
    write_package(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield "own_smears"
    sys.modules.pop("own_smears", None)
