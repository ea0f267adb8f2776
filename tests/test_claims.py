"""Numbers and verdicts: what the ledger holds, what report and settle refuse."""

from __future__ import annotations

import math

import pytest
import torch

from course_lib import claims
from course_lib.claims import ClaimError, report, settle


def test_the_ledger_reads_and_every_finished_chapter_has_claims():
    rows = claims.ledger().values()
    assert claims.finished() <= {row.chapter for row in rows}
    assert all(row.text.endswith(".") for row in rows)


ROW = {"id": "Z1", "chapter": 1, "source": "S", "text": "So.", "verdict": claims.HOLDS}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([ROW, ROW], "an id stands twice"),
        ([ROW | {"verdict": "perhaps"}], "claim Z1: verdict must be one of"),
        ([ROW | {"condition": "the step is small"}], "claim Z1: a condition goes with"),
        ([ROW | {"verdict": claims.CONDITIONAL}], "claim Z1: a condition goes with"),
    ],
)
def test_a_ledger_that_contradicts_itself_is_refused(monkeypatch, rows, said):
    monkeypatch.setattr(claims, "read_ledger", lambda: {"claim": rows})
    with pytest.raises(ClaimError, match=said):
        claims.ledger.__wrapped__()  # what is cached is the book's own


@pytest.mark.parametrize("value", [0.5, torch.tensor(0.5), 1])
def test_a_number_inside_its_range_is_reported(value):
    report("any_number", value, between=(0.5, 1))


@pytest.mark.parametrize("value", [0.49, 1.01, math.nan, math.inf, torch.tensor(math.nan)])
def test_a_number_outside_its_range_fails_and_is_named(value):
    with pytest.raises(ClaimError, match="any_number: computed"):
        report("any_number", value, between=(0.5, 1))


def test_an_exact_number_must_be_met_exactly():
    report("count", 7, equals=7)
    with pytest.raises(ClaimError, match="relies on 7"):
        report("count", 8, equals=7)


@pytest.mark.parametrize("bounds", [{}, {"between": (0, 1), "equals": 1}])
def test_a_number_without_its_assertion_is_refused(bounds):
    with pytest.raises(TypeError, match="exactly one"):
        report("any_number", 1, **bounds)


def by_verdict(verdict: str) -> str:
    return next(claim.id for claim in claims.ledger().values() if claim.verdict == verdict)


OUTCOMES = {
    claims.HOLDS: {"as_written": True},
    claims.CONDITIONAL: {"as_written": False, "under_condition": True},
    claims.FAILS: {"as_written": False, "under_condition": False},
}


@pytest.mark.parametrize("taught", OUTCOMES)
@pytest.mark.parametrize("measured", OUTCOMES)
def test_a_verdict_other_than_the_one_taught_fails(taught, measured):
    id = by_verdict(taught)
    if taught == measured:
        assert settle(id, "a figure", **OUTCOMES[measured]).verdict == taught
    else:
        with pytest.raises(ClaimError, match=f"claim {id}: computed '{measured}'"):
            settle(id, "a figure", **OUTCOMES[measured])


def test_an_unknown_claim_is_refused():
    with pytest.raises(ClaimError, match=r"'Z99' is not in ledger\.toml"):
        settle("Z99", "a figure", as_written=True)


def test_a_settled_claim_shows_its_condition_and_escapes_what_it_shows():
    settled = settle(by_verdict(claims.CONDITIONAL), "1 < 2", as_written=False, under_condition=True)
    assert settled.condition in str(settled) and "…" not in str(settled)
    assert "1 &lt; 2" in settled._repr_mimebundle_()["text/html"]
