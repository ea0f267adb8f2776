"""The published log: its length, the figures that the post quotes, and that an altered file is refused."""

import pytest

from course_lib.data import published_history, rome2018


def test_the_log_says_what_the_post_says():
    history = published_history()
    accuracy = history.metrics["val_accuracy"]
    assert history.epochs == 327 and accuracy[-1] == 0.9037
    assert max(accuracy) == 0.9122 and accuracy.index(max(accuracy)) + 1 == 246
    assert history.seconds[-1] / 3600 == pytest.approx(25.0, abs=0.1)


def test_an_altered_file_is_refused(monkeypatch):
    monkeypatch.setattr(rome2018, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"rome2018_history\.csv: SHA-256"):
        published_history()
