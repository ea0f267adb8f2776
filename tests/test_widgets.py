"""Every widget: small, on its own, and with words for those who do not see it."""

import re

import pytest
from widget_tools import WIDGETS


@pytest.mark.parametrize("path", sorted(WIDGETS.glob("*.js")), ids=lambda path: path.stem)
def test_small_and_on_its_own(path):
    source = path.read_text("utf-8")
    assert len(source.encode()) < 30_000
    assert not re.search(r"https?:|\bimport\b|fetch\(|XMLHttp", source)
    assert "</script" not in source
    assert "aria-live" in source and "<label>" in source
