"""An application under test for each test of this folder."""

from tests.helpers.application import _no_keys, app

__all__ = ["_no_keys", "app"]
