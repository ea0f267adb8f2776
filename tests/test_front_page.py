"""The front page: its picture tells the truth, moves only where motion is welcome, and all of it is on one screen."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from bs4 import BeautifulSoup
from test_browser import FOLDER, browser  # noqa: F401

from course_lib.authoring import front
from course_lib.integrators import dopri5

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
PAGE = HTML / "book" / "intro.html"
built = pytest.mark.skipif(not PAGE.exists(), reason="the book is not built (`make book`); `make test` builds it first")
SVG = "{http://www.w3.org/2000/svg}"


def points(data: str) -> torch.Tensor:
    """The (x, y) of an SVG path of straight lines."""
    pairs = data.lstrip("M").split()
    return torch.tensor([[float(value) for value in pair.split(",")] for pair in pairs])


def test_the_flow_is_the_fields_and_keeps_order():
    exact = dopri5(front.field, front.STARTS, [0.0, front.END], rtol=1e-10, atol=1e-10, max_steps=10_000).x[-1]
    flow = front.flow()
    assert torch.allclose(flow[-1], exact, atol=1e-4)
    assert bool((flow.diff(dim=1) > 0).all())


def test_each_net_is_nearer_to_the_flow_and_the_first_one_crosses():
    far = [front.farthest(layers) for layers in front.LAYERS]
    assert all(after < 0.75 * before for before, after in pairwise(far))
    assert bool((front.states(front.LAYERS[0])[-1].diff() < 0).any())
    words = front.description()
    assert f"up to {far[0]:.1f} away" in words and f"to {far[-1]:.1f} with {front.LAYERS[-1]}" in words


def test_what_is_drawn_is_what_was_computed():
    root = ElementTree.fromstring(front.svg().replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    assert root.get("role") == "img" and root.get("aria-label") == front.description()
    nets = [g for g in root.iter(f"{SVG}g") if "net" in g.get("class")]
    assert [g.find(f"{SVG}text").text for g in nets] == [f"{layers} layers" for layers in front.LAYERS]
    assert [g.get("class") for g in nets].count("net still") == 1
    _, top, width, height = map(float, root.get("viewBox").split())
    for layers, g in zip(front.LAYERS, nets, strict=True):
        drawn = [points(p.get("d")) for p in g.iter(f"{SVG}path") if p.get("class") in ("low", "high")]
        y = torch.stack([line[:, 1] for line in drawn], 1).double()
        x = front.states(layers)
        # Upwards is more; one scale and one origin for all.
        scale = (y[0, 0] - y[0, -1]) / (x[0, -1] - x[0, 0])
        assert torch.allclose(y, y[0, 0] - scale * (x - x[0, 0]), atol=0.11)
        assert bool(((y > top) & (y < height)).all()) and drawn[0][-1, 0] < width


@built
def test_the_ways_in_stand_first_and_only_this_page_loads_the_style():
    soup = BeautifulSoup(PAGE.read_text("utf-8"), "html.parser")
    ways = soup.select(".ways a")
    assert [a.get_text() for a in ways] == ["Read", "Work", "Teach"]
    assert all((PAGE.parent / a["href"]).resolve().is_file() for a in ways)
    assert soup.select_one(".moving input#pause-picture + label[for=pause-picture]")
    assert soup.select_one("link[href*='front.css']")
    others = [path for path in HTML.glob("book/*.html") if path != PAGE]
    assert not [path for path in others if "front.css" in path.read_text("utf-8")]


def test_it_moves_only_on_screens_whose_readers_do_not_mind():
    css = re.sub(r"/\*.*?\*/", "", (ROOT / "book/_static/front.css").read_text("utf-8"), flags=re.DOTALL)
    welcome = re.search(r"@media screen and \(prefers-reduced-motion: no-preference\) \{(.*?)\n\}", css, re.DOTALL)
    assert "animation:" in welcome[1] and "animation:" not in css.replace(welcome[0], "")


LOOK = """
import { chromium } from "playwright-core";
const [executablePath, url] = process.argv.slice(2);
const args = ["--no-sandbox", "--disable-gpu"];
const browser = await chromium.launch({ executablePath, args }), out = [];
for (const [width, height, reducedMotion, javaScriptEnabled] of [
  [1280, 800, "no-preference", true], [390, 844, "no-preference", false], [390, 844, "reduce", true],
]) {
  const context = await browser.newContext({ viewport: { width, height }, reducedMotion, javaScriptEnabled });
  const page = await context.newPage();
  await page.goto(url);
  const ends = [];
  for (const seen of [".front .what", ".moving svg", ".ways"]) {
    const box = await page.locator(seen).boundingBox();
    ends.push(box.y + box.height);
  }
  const still = await page.locator(".moving svg").screenshot();
  await page.waitForTimeout(700);
  const moved = !still.equals(await page.locator(".moving svg").screenshot());
  const stop = page.locator("#pause-picture"), shown = await stop.isVisible();
  if (shown) await stop.focus(), await page.keyboard.press("Space");
  await page.waitForTimeout(300);
  const paused = await page.locator(".moving svg").screenshot();
  await page.waitForTimeout(700);
  const rests = paused.equals(await page.locator(".moving svg").screenshot());
  out.push({ height, low: Math.max(...ends), moved, shown, rests });
}
await browser.close();
console.log(JSON.stringify(out));
"""


@built
def test_it_is_on_one_screen_and_can_be_stopped(browser):  # noqa: F811
    command = ["node", "--input-type=module", "-", browser, PAGE.as_uri()]
    run = subprocess.run(command, cwd=FOLDER, input=LOOK, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    desktop, scriptless, still = json.loads(run.stdout)
    for seen in (desktop, scriptless, still):
        assert seen["low"] <= seen["height"], seen
        assert seen["rests"], seen
    assert desktop["shown"] and scriptless["shown"] and not still["shown"]
    assert desktop["moved"] and scriptless["moved"] and not still["moved"]
