// When a page on localhost shows its largest piece, on a processor slowed down four times, and how much it shifts: while
// it loads, and while its reader goes through it to the end. Shifts are summed as the web's CLS is, in windows of time.
// Sections that are laid out late have a height before: how far it is from what they take, and whether a link to one of
// them leads there.

function watch() {
  const seen = (globalThis.painted = { paint: 0, shift: 0 });
  let sum = 0, from = 0, last = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) seen.paint = entry.startTime;
  }).observe({ type: "largest-contentful-paint", buffered: true });
  new PerformanceObserver((list) => {
    for (const { startTime, value, hadRecentInput } of list.getEntries()) {
      if (hadRecentInput) continue;
      const goesOn = startTime - last < 1000 && startTime - from < 5000;
      if (!goesOn) [sum, from] = [0, startTime];
      [sum, last] = [sum + value, startTime];
      seen.shift = Math.max(seen.shift, sum);
    }
  }).observe({ type: "layout-shift", buffered: true });
}

async function through() {
  const frame = () => new Promise((next) => requestAnimationFrame(() => setTimeout(next, 20)));
  for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight * 0.8) {
    scrollTo(0, y);
    await frame();
  }
  await frame();
}

const tall = () => (document.querySelector("main") ?? document.body).scrollHeight;

/** Where the place that the address names stands, in pixels from the top of the window. */
const stands = () => document.getElementById(decodeURIComponent(location.hash.slice(1))).getBoundingClientRect().top;

/** {before, after} going through: the page's height; and {away}: how far from the top a link leads. */
export async function placed(browser, url, width) {
  const context = await browser.newContext({ viewport: { width, height: 800 }, reducedMotion: "reduce" });
  const page = await context.newPage();
  await page.goto(url, { waitUntil: "load" });
  const before = await page.evaluate(tall);
  await page.evaluate(through);
  const after = await page.evaluate(tall);
  const id = await page.evaluate(() => {
    const sections = document.querySelectorAll(".bd-article > section > section");
    return sections[Math.floor(0.6 * sections.length)]?.id;
  });
  await page.goto("about:blank");
  await page.goto(`${url}#${id}`, { waitUntil: "load" });
  await page.waitForTimeout(300);
  const away = id ? await page.evaluate(stands) : 0;
  await context.close();
  return { before, after, away: Math.round(away) };
}

async function visit(browser, url) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);
  await page.addInitScript(watch);
  await devtools.send("Emulation.setCPUThrottlingRate", { rate: 4 });
  await page.goto(url, { waitUntil: "load" });
  await page.waitForTimeout(500);
  const { paint } = await page.evaluate(() => ({ ...globalThis.painted }));
  await devtools.send("Emulation.setCPUThrottlingRate", { rate: 1 });
  await page.evaluate(through);
  const { shift } = await page.evaluate(() => ({ ...globalThis.painted }));
  await context.close();
  return { paint: Math.round(paint), shift };
}

/** {paint, shift} of a page: milliseconds, the best of three visits if other programs share the machine; and the worst shift. */
export async function painted(browser, url, enough) {
  let best = { paint: Infinity, shift: 0 };
  for (let k = 0; k < 3 && !(best.paint < enough && best.paint > 0); k++) {
    const { paint, shift } = await visit(browser, url);
    best = { paint: Math.min(best.paint, paint || Infinity), shift: Math.max(best.shift, shift) };
  }
  return best;
}
