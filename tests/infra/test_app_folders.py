"""The laptop and the packages know the same folders of the apps."""

from __future__ import annotations

from devhost.apps import APP_FOLDERS
from infra.packages import stage


def test_the_laptop_serves_the_folders_that_are_packed() -> None:
    assert dict(stage.APP_FOLDERS) == dict(APP_FOLDERS)
