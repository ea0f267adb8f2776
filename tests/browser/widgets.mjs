// The widgets as a reader uses them: dragged, typed into, moved by keys and reset; and what stands there without scripts.

const said = (page, name) => page.locator(`${name} [aria-live]`).first().innerText();

// Each step tells what it did; what is read aloud must have changed after it, or be as it was after the reset.
async function used(page, name, tell) {
  const host = page.locator(name).first();
  await host.scrollIntoViewIfNeeded();
  const first = await said(page, name);
  if (!first.trim()) return tell(`${name}: says nothing of its state`);
  const changed = async (what, before) => {
    if ((await said(page, name)) === before) tell(`${name}: ${what} changes nothing that is read aloud`);
  };
  const reset = async () => {
    await host.locator("button").first().click();
    if ((await said(page, name)) !== first) tell(`${name}: reset does not bring back the start`);
  };

  const slider = host.locator("input[type=range]:not([disabled])").first();
  await slider.evaluate((e) => e.scrollIntoView({ block: "center" }));
  const box = await slider.boundingBox();
  const middle = box.y + box.height / 2;
  await page.mouse.move(box.x + box.width / 2, middle);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.9, middle, { steps: 4 });
  await page.mouse.up();
  await changed("dragging its first slider", first);
  await reset();

  await slider.focus();
  for (let k = 0; k < 3; k++) await page.keyboard.press("ArrowRight");
  await changed("an arrow key on its first slider", first);
  await reset();

  const field = host.locator("input[type=number]:not([disabled])").first();
  const least = Number(await field.getAttribute("min")), most = Number(await field.getAttribute("max"));
  await field.fill(String(least + 0.75 * (most - least)));
  await changed("a number typed", first);
  if (Math.abs(Number(await slider.inputValue()) - (least + 0.75 * (most - least))) > 0.03 * (most - least)) {
    tell(`${name}: its slider does not follow the number typed`);
  }
  const before = await said(page, name);
  await field.fill(String(most + 1));
  if ((await said(page, name)) !== before) tell(`${name}: takes a number out of its range`);
  await reset();

  for (const picture of await host.locator("svg").all()) {
    if (!(await picture.getAttribute("aria-label"))?.trim()) tell(`${name}: a picture has no name`);
  }
  if (await host.evaluate((e) => e.scrollWidth > e.clientWidth + 1)) tell(`${name}: stands out sideways`);
}

// The picture in space of course-crossing turns under the mouse.
async function turned(page, tell) {
  const host = page.locator("course-crossing").first();
  await host.locator("input[type=radio]").nth(1).check();
  const angle = host.locator("input[name=azimuth]");
  const before = await angle.inputValue(), drawn = await host.locator("svg").innerHTML();
  await host.locator("svg").evaluate((e) => e.scrollIntoView({ block: "center" }));
  const box = await host.locator("svg").boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2 + 60, box.y + box.height / 2 + 10, { steps: 4 });
  await page.mouse.up();
  if ((await angle.inputValue()) === before || (await host.locator("svg").innerHTML()) === drawn) {
    tell("course-crossing: dragging its picture does not turn it");
  }
}

/** Uses every widget of an open page and returns their names. */
export async function widgets(page, tell) {
  const names = await page.evaluate(() => [...new Set([...document.querySelectorAll("main *")].map((e) => e.localName).filter((n) => n.startsWith("course-")))]);
  for (const name of names) {
    await used(page, name, tell);
    if (name === "course-crossing") await turned(page, tell);
  }
  return names;
}

/** On a page opened without scripts: what stands in for a widget is shown. */
export async function fallback(page, name, tell) {
  const picture = page.locator(`${name} img`).first();
  if ((await picture.count()) === 0) return tell(`${name}: no picture without scripts`);
  await picture.scrollIntoViewIfNeeded();
  const shown = await picture.evaluate((e) => e.decode().then(() => e.checkVisibility() && e.naturalWidth > 0, () => false));
  if (!shown) tell(`${name}: its picture is not shown without scripts`);
}
