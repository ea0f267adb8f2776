"""Records: written, read back the same, and refused by the field that is wrong."""

import json
import math
from dataclasses import replace
from importlib import metadata

import pytest
import torch

from course_lib import __version__, records
from course_lib.records import Record, RecordError, Run
from course_lib.train import History


def history() -> History:
    return History(
        loss=[1.0, 0.5],
        metrics={"val_accuracy": [math.nan, 0.9]},
        nfe_forward=[0, 0],
        nfe_backward=[0, 0],
        grad_norm=[1.0, 0.1],
        lr=[0.1, 0.1],
        seconds=[1.0, 2.0],
        peak_memory=[5.0, 5.0],
        steps=20,
    )


@pytest.fixture
def record() -> Record:
    empty = records.new(
        "some-recipe",
        {"lr": 0.1, "widths": [1, 2]},
        data={"name": "toy", "sha256": "0" * 64},
        device=torch.device("cpu"),
        small=True,
    )
    runs = [Run(s, history(), {"test_error": e}) for s, e in ((0, 0.01), (1, 0.03))]
    return replace(empty, runs=runs, complete=True)


def test_a_record_is_read_back_as_it_was(record, tmp_path):
    again = records.read(records.write(record, tmp_path / "a" / "r.json"))
    assert again.runs[0].history.loss == [1.0, 0.5] and math.isnan(again.runs[0].history.metrics["val_accuracy"][0])
    assert replace(again, runs=[]) == replace(record, runs=[]) and again.seeds == [0, 1]
    assert again.mean("test_error") == pytest.approx(0.02) and again.spread("test_error") == pytest.approx(
        0.01414, rel=1e-3
    )
    with pytest.raises(KeyError, match="have test_error"):
        again.mean("accuracy")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["r.json"]


def test_versions_are_known_where_the_course_is_not_installed(monkeypatch):
    def version(name: str) -> str:
        if name == "course_lib":
            raise metadata.PackageNotFoundError(name)
        return known(name)

    known = metadata.version
    monkeypatch.setattr(records.metadata, "version", version)
    assert records.versions()["course_lib"] == __version__


def test_records_are_found_by_recipe_and_setting(record, tmp_path):
    records.write(record, tmp_path / "a.json")
    records.write(replace(record, config={"lr": 0.2}), tmp_path / "b.json")
    assert [r.config["lr"] for r in records.read_all(tmp_path)] == [0.1, 0.2]
    assert len(records.read_all(tmp_path, recipe="some-recipe", lr=0.2)) == 1 and not records.read_all(
        tmp_path, recipe="x"
    )
    assert len(records.read_all(tmp_path, lr=0.1, widths=[1, 2])) == 1
    assert not records.read_all(tmp_path, lr=0.1, widths=[3])


def test_the_device_says_how_many_processes_there_were():
    one, four = (records.describe(torch.device("cpu"), n)["name"] for n in (1, 4))
    assert "threads" in one and four == f"4 processes, each {one}"


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda r: r.update(schema=2), "schema is 2"),
        (lambda r: r.pop("device"), "fields differ.*device"),
        (lambda r: r.update(extra=1), "fields differ.*extra"),
        (lambda r: r.update(small="yes"), "small is a str"),
        (lambda r: r["data"].update(sha256="abc"), "data.sha256"),
        (lambda r: r["versions"].pop("torch"), "versions must have"),
        (lambda r: r["runs"][1].update(seed=0), "each once"),
        (lambda r: r["runs"][0]["final"].update(test_error=None), "seed 0: final.test_error is None"),
        (lambda r: r["runs"][0].update(final={}), "no final figures"),
        (lambda r: r["runs"][0]["history"].pop("lr"), "history has other fields"),
        (lambda r: r["runs"][0]["history"]["lr"].pop(), "differ in length"),
        (lambda r: r.update(runs=[]), "complete without a run"),
    ],
)
def test_a_record_that_breaks_the_schema_is_refused(record, tmp_path, change, message):
    path = records.write(record, tmp_path / "r.json")
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))
    with pytest.raises(RecordError, match=rf"r\.json: .*{message}"):
        records.read(path)


def test_a_figure_that_is_not_finite_is_not_written(record, tmp_path):
    bad = replace(record, runs=[Run(0, history(), {"test_error": math.nan})])
    with pytest.raises(RecordError, match="test_error is nan"):
        records.write(bad, tmp_path / "r.json")
    assert not list(tmp_path.iterdir())
    (tmp_path / "r.json").write_text("{ not json")
    with pytest.raises(RecordError, match="not a readable JSON"):
        records.read(tmp_path / "r.json")
