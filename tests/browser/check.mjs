// Opens every page of a built book in Chromium and prints, as JSON, what is wrong with it and what each page weighs:
// {"faults": [...], "pages": n, "widgets": [...], "weights": {page: {first, next}}, "paints": {page: {paint, shift}},
// "places": {"page width": {before, after, away}}}.
//
//   node check.mjs FOLDER CHROMIUM
//
// Each page is met twice: from localhost on a desktop in light mode, then dark; from disk on a phone (320 px) in dark mode,
// then light; by readers who want no motion. Each time: axe's rules for WCAG 2.1 AA and for headings, errors of scripts,
// requests to other hosts, what moves or stands out. Then the search, the keyboard and the widgets are used, and chapters
// are timed.

import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { look, samples, thin, unfold } from "./inside.mjs";
import { painted, placed } from "./paint.mjs";
import { serve } from "./serve.mjs";
import { fallback, widgets } from "./widgets.mjs";

const [folder, executablePath] = [resolve(process.argv[2]), process.argv[3]];
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ASKED = { resultTypes: ["violations"], preload: false };
const RULES = {
  ...ASKED,
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
  rules: {
    "heading-order": { enabled: true }, "page-has-heading-one": { enabled: true }, "region": { enabled: true },
    "label-content-name-mismatch": { enabled: true }, "color-contrast": { enabled: false }, "link-in-text-block": { enabled: false },
  },
};
const CONTRAST = { ...ASKED, runOnly: { type: "rule", values: ["color-contrast", "link-in-text-block"] } };

const host = await serve(folder);
const DISK = `${pathToFileURL(folder).href}/`;
const DESKTOP = { name: "localhost, desktop", base: host.origin, modes: ["light", "dark"], width: 1280, height: 800 };
const PHONE = { name: "disk, phone", base: DISK, modes: ["dark", "light"], width: 320, height: 640 };

const faults = [], asked = new Map(), found = new Map();
const browser = await chromium.launch({
  executablePath,
  args: ["--disable-gpu", "--disable-background-networking", ...(process.getuid?.() === 0 ? ["--no-sandbox"] : [])],
});

// A page that listens: what it logs as an error and whom else it asks is a fault. `asked` gathers what it asks of localhost.
async function opened(visit, where, options = {}) {
  const context = await browser.newContext({
    colorScheme: visit.modes[0], viewport: { width: visit.width, height: visit.height }, reducedMotion: "reduce", ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(60000);
  const tell = (what) => faults.push(`${where} (${visit.name}): ${what}`);
  page.on("console", (message) => message.type() === "error" && tell(`console: ${message.text().slice(0, 200)}`));
  page.on("pageerror", (error) => tell(`script: ${error.message.slice(0, 200)}`));
  await context.route("**/*", (route) => {
    const url = route.request().url();
    if (![host.origin, DISK, "data:", "blob:"].some((start) => url.startsWith(start))) {
      tell(`asks another host: ${url.slice(0, 120)}`);
      return route.abort();
    }
    if (url.startsWith(host.origin)) asked.set(where, (asked.get(where) ?? new Set()).add(url));
    return route.continue();
  });
  return { page, tell };
}

async function axe(page, tell, mode, rules) {
  const { violations } = await page.evaluate((options) => globalThis.axe.run(document, options), rules);
  for (const { id, help, nodes } of violations) {
    const first = nodes[0];
    const why = (first.any[0] ?? first.all[0] ?? first.none[0])?.message ?? "";
    tell(`${mode}, ${id}, ${nodes.length} times: ${help}; first ${first.target.join(" ")} ${first.html.slice(0, 160)} ${why.slice(0, 200)}`);
  }
}

const turn = (mode) => { document.documentElement.dataset.theme = mode; };

async function visited(visit, path) {
  const { page, tell } = await opened(visit, path);
  try {
    await page.goto(visit.base + path, { waitUntil: "load" });
    await page.evaluate(unfold);
    for (const what of await page.evaluate(look)) tell(what);
    const names = await widgets(page, tell);
    for (const name of names) found.set(name, path);
    await page.evaluate(thin);
    await page.evaluate(AXE);
    await axe(page, tell, visit.modes[0], RULES);
    await page.evaluate(samples, visit.modes);
    for (const mode of visit.modes) {
      await page.evaluate(turn, mode);
      await axe(page, tell, mode, CONTRAST);
    }
  } catch (error) {
    tell(`not checked: ${error.message.slice(0, 300)}`);
  }
  await page.context().close();
}

// Opened without scripts: formulas, figures and what stands in for the widgets.
async function plain(visit, path, name) {
  const { page, tell } = await opened(visit, path, { javaScriptEnabled: false });
  try {
    await page.goto(visit.base + path, { waitUntil: "load" });
    await fallback(page, name, tell);
  } catch (error) {
    tell(`not checked without scripts: ${error.message.slice(0, 300)}`);
  }
  await page.context().close();
}

// Tab leads through a page to its end, and one sees where one is.
async function tabbed(visit, path) {
  const { page, tell } = await opened(visit, path);
  const here = () => {
    let e = document.activeElement;
    while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
    if (e === document.body) return null;
    globalThis.seen ??= [];
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    const shown = style.outlineStyle !== "none" || style.boxShadow !== "none" || e.localName === "iframe";
    const old = globalThis.seen.includes(e);
    globalThis.seen.push(e);
    return { old, shown, size: box.width * box.height, html: e.outerHTML.slice(0, 140), last: e.closest("footer, .prev-next-area") !== null };
  };
  try {
    await page.goto(visit.base + path, { waitUntil: "load" });
    let last = false;
    for (let k = 0; k < 600; k++) {
      await page.keyboard.press("Tab");
      const at = await page.evaluate(here);
      if (!at || at.old) break;
      last ||= at.last;
      if (!at.shown) tell(`one does not see that this has the focus: ${at.html}`);
    }
    if (!last) tell("Tab does not lead to the way on at the end of the page");
  } catch (error) {
    tell(`not checked by keyboard: ${error.message.slice(0, 300)}`);
  }
  await page.context().close();
}

// A word of the front page is searched by its field, as a reader would.
async function searched(visit) {
  const { page, tell } = await opened(visit, "search.html");
  try {
    await page.goto(`${visit.base}search.html?q=equation`, { waitUntil: "load" });
    const first = page.locator("#search-results li a").first();
    await first.waitFor({ timeout: 15000 });
    if (!(await first.getAttribute("href"))) tell("the first result leads nowhere");
  } catch (error) {
    tell(`search finds nothing: ${error.message.slice(0, 120)}`);
  }
  await page.context().close();
}

async function inTurn(work) {
  await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, async () => {
    while (work.length) await work.shift()();
  }));
}

// Bytes over the wire: of a page whose reader has nothing yet, and of one whose reader comes from another page like it.
async function weights(pages) {
  const out = {};
  for (const page of pages) {
    const others = new Set(pages.filter((other) => other !== page).flatMap((other) => [...asked.get(other) ?? []]));
    out[page] = { first: 0, next: 0 };
    for (const url of asked.get(page) ?? []) {
      const bytes = await host.bytes(url);
      out[page].first += bytes;
      if (!others.has(url)) out[page].next += bytes;
    }
  }
  return out;
}

const names = (await readdir(folder, { recursive: true })).map((name) => name.replaceAll("\\", "/"));
// index.html only sends its reader on; the listings of source code have one form, so three of them stand for all.
const listings = names.filter((name) => /^_modules\/.*\.html$/.test(name)).sort();
const pages = names.filter((name) => name.endsWith(".html") && !/^(_static|_sources|_downloads|_modules)\//.test(name));
const redirects = async (name) => /http-equiv="refresh"/i.test(await readFile(join(folder, name), "utf8"));
if (pages.includes("index.html") && (await redirects("index.html"))) pages.splice(pages.indexOf("index.html"), 1);
pages.push(...new Set([0, 0.5, 1].map((part) => listings[Math.round(part * (listings.length - 1))]).filter(Boolean)));
if (process.env.ONLY) pages.splice(0, pages.length, ...pages.filter((name) => new RegExp(process.env.ONLY).test(name)));

const searches = pages.includes("search.html") ? [DESKTOP, PHONE].map((visit) => () => searched(visit)) : [];
await inTurn([...[DESKTOP, PHONE].flatMap((visit) => pages.map((path) => () => visited(visit, path))), ...searches]);
const chapters = pages.filter((name) => /^book\/ch\d/.test(name));
const weighed = await weights(chapters);
const written = names.filter((name) => /^_static\/widgets\/\w+\.js$/.test(name)).map((name) => `course-${name.match(/(\w+)\.js/)[1]}`);
if (!process.env.ONLY) for (const name of written) if (!found.has(name)) faults.push(`${name}: stands on no page`);
const [last] = [...found.values()].slice(-1);
await inTurn([...[...found].map(([name, path]) => () => plain(PHONE, path, name)), ...(last ? [() => tabbed(DESKTOP, last)] : [])]);
const paints = {};
for (const name of chapters) paints[name] = await painted(browser, host.origin + name, 1500);
const places = {};
for (const name of chapters) for (const width of [1280, 390]) places[`${name} ${width}`] = await placed(browser, host.origin + name, width);
await browser.close();
host.close();
console.log(JSON.stringify({ faults, pages: pages.length, widgets: [...found.keys()], weights: weighed, paints, places }));
