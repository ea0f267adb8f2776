"""The claims ledger at work: numbers for prose, and verdicts that are computed.

``report`` hands a number to the prose of a page and fails if it leaves the range the prose relies on.
``settle`` turns measurements into a verdict on one claim of the ledger (``ledger.toml``) and fails if the verdict
is not the one the text teaches. Both store what they saw in the notebook's output, where the book's pages read it.
"""

from __future__ import annotations

import html
import json
import math
import tomllib
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources

HOLDS, CONDITIONAL, FAILS = "holds", "holds if …", "does not hold as written"
VERDICTS = (HOLDS, CONDITIONAL, FAILS)


class ClaimError(AssertionError):
    """A number or a verdict is no longer what the text says."""


@dataclass(frozen=True)
class Claim:
    """One row of the ledger: what a source says, in our words, and the verdict that the course teaches."""

    id: str
    chapter: int
    source: str
    text: str
    verdict: str
    condition: str = ""


@cache
def read_ledger() -> dict:
    return tomllib.loads(resources.files("course_lib").joinpath("ledger.toml").read_text("utf-8"))


def finished() -> set[int]:
    """The chapters whose every claim must have a computed value."""
    return set(read_ledger()["finished"])


@cache
def ledger() -> dict[str, Claim]:
    """All claims by id, in the order of the file."""
    rows = read_ledger()["claim"]
    claims = {row["id"]: Claim(**row) for row in rows}
    if len(claims) != len(rows):
        raise ClaimError("ledger.toml: an id stands twice.")
    for claim in claims.values():
        if claim.verdict not in VERDICTS:
            raise ClaimError(f"ledger.toml: claim {claim.id}: verdict must be one of {VERDICTS}.")
        if bool(claim.condition) != (claim.verdict == CONDITIONAL):
            raise ClaimError(f"ledger.toml: claim {claim.id}: a condition goes with {CONDITIONAL!r} alone.")
    return claims


@dataclass(frozen=True)
class Settled:
    """The outcome of one claim: its verdict and the computed value that carries it. Shows itself in a notebook."""

    id: str
    value: str
    verdict: str
    condition: str = ""

    def __str__(self) -> str:
        return f"Claim {self.id} {self.verdict.replace('…', self.condition)}: {self.value}."

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        # The id is where the claims page links to.
        said = html.escape(f"{self.verdict.replace('…', self.condition)}: {self.value}.")
        shown = f'<p class="claim" id="claim-{self.id}"><strong>Claim {self.id}</strong> {said}</p>'
        return {"text/plain": str(self), "text/html": shown}


def store(name: str, text: str) -> None:
    """Put text under a name in the output of the running cell, as Jupyter's glue does; nothing outside Jupyter."""
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is not None:
        bundle = {"application/papermill.record/text/plain": text}
        scrapbook = {"name": name, "mime_prefix": "application/papermill.record/"}
        display(bundle, raw=True, metadata={"scrapbook": scrapbook})


def report(name: str, value: float, *, between: tuple[float, float] | None = None, equals: object = None) -> None:
    """Hand a computed number to the prose of a page, and assert what the prose says of it.

    Parameters
    ----------
    name
        The key under which the page refers to it; unique in the book.
    value
        A number (0-d tensors are converted).
    between, equals
        Exactly one of them: the closed interval the number must lie in, or the value it must have.

    Raises
    ------
    ClaimError
        If the number is not finite or not as asserted.
    """
    if (between is None) == (equals is None):
        raise TypeError(f"report({name!r}): give exactly one of between=(low, high) and equals=value.")
    value = value.item() if hasattr(value, "item") else value
    if not math.isfinite(value):
        raise ClaimError(f"{name}: computed {value}, which is not a finite number.")
    if equals is not None and value != equals:
        raise ClaimError(f"{name}: computed {value!r}, but the text relies on {equals!r}.")
    if between is not None and not between[0] <= value <= between[1]:
        raise ClaimError(f"{name}: computed {value:.6g}, but the text relies on {between[0]:g} to {between[1]:g}.")
    store(name, repr(value))


def settle(id: str, value: str, *, as_written: bool, under_condition: bool | None = None) -> Settled:
    """Give the computed verdict on a claim and compare it with the one that the course teaches.

    Parameters
    ----------
    id
        The claim's id in the ledger.
    value
        One short sentence with the computed figures that decide.
    as_written
        Did the measurement bear out the claim as its source states it?
    under_condition
        If not: did it bear it out under the condition that the ledger names?

    Raises
    ------
    ClaimError
        If the id is unknown or the computed verdict differs from the ledger's.
    """
    if id not in ledger():
        raise ClaimError(f"claim {id!r} is not in ledger.toml; add it there with its text and verdict.")
    claim = ledger()[id]
    verdict = HOLDS if as_written else CONDITIONAL if under_condition else FAILS
    if verdict != claim.verdict:
        raise ClaimError(f"claim {id}: computed {verdict!r} ({value}), but the course teaches {claim.verdict!r}.")
    settled = Settled(id, value, verdict, claim.condition)
    store(f"claim:{id}", json.dumps(asdict(settled), ensure_ascii=False))
    return settled
