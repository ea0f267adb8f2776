// Opens every page of a built book in Chromium and prints, as JSON, what is wrong with it: {"faults": [...], "pages": n}.
//
//   node check.mjs FOLDER CHROMIUM
//
// Each page is met twice: from localhost on a desktop in light mode, then dark; from disk on a phone (320 px) in dark mode,
// then light. Each time: axe's rules for WCAG 2.1 AA and for headings, errors of scripts, requests to other hosts, and what
// moves or stands out sideways. Then the search and the widgets are used.

import { createServer } from "node:http";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [folder, executablePath] = [resolve(process.argv[2]), process.argv[3]];
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = {
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
  rules: {
    "heading-order": { enabled: true }, "page-has-heading-one": { enabled: true }, "region": { enabled: true },
    "label-content-name-mismatch": { enabled: true }, "color-contrast": { enabled: false },
  },
  resultTypes: ["violations"],
  preload: false,
};
const CONTRAST = { runOnly: { type: "rule", values: ["color-contrast", "link-in-text-block"] }, resultTypes: ["violations"], preload: false };
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png", ".json": "application/json", ".woff2": "font/woff2" };

const server = createServer(async (request, response) => {
  try {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const content = await readFile(join(folder, path.endsWith("/") ? `${path}index.html` : path));
    response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" }).end(content);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const LOCAL = `http://127.0.0.1:${server.address().port}/`, DISK = `${pathToFileURL(folder).href}/`;
const VISITS = [
  { name: "localhost, desktop", base: LOCAL, scheme: "light", width: 1280, height: 800 },
  { name: "disk, phone", base: DISK, scheme: "dark", width: 320, height: 640 },
];

const faults = [];
const browser = await chromium.launch({
  executablePath,
  args: ["--disable-gpu", "--disable-background-networking", "--force-prefers-reduced-motion", ...(process.getuid?.() === 0 ? ["--no-sandbox"] : [])],
});

// A page that listens: what it logs as an error and whom else it asks is a fault.
async function opened(visit, where) {
  const context = await browser.newContext({ colorScheme: visit.scheme, viewport: { width: visit.width, height: visit.height } });
  const page = await context.newPage();
  const tell = (what) => faults.push(`${where} (${visit.name}): ${what}`);
  page.on("console", (message) => message.type() === "error" && tell(`console: ${message.text().slice(0, 200)}`));
  page.on("pageerror", (error) => tell(`script: ${error.message.slice(0, 200)}`));
  await context.route("**/*", (route) => {
    const url = route.request().url();
    if ([LOCAL, DISK, "data:", "blob:"].some((start) => url.startsWith(start))) return route.continue();
    tell(`asks another host: ${url.slice(0, 120)}`);
    return route.abort();
  });
  return { page, tell };
}

// Fonts and a quiet page.
async function settled(page) {
  await page.evaluate(async () => {
    await document.fonts.ready;
  });
}

async function axe(page, tell, mode, rules) {
  const { violations } = await page.evaluate((options) => globalThis.axe.run(document, options), rules);
  for (const { id, help, nodes } of violations) {
    const first = nodes[0];
    const why = (first.any[0] ?? first.all[0] ?? first.none[0])?.message ?? "";
    tell(`${mode}, ${id}, ${nodes.length} times: ${help}; first ${first.target.join(" ")} ${first.html.slice(0, 160)} ${why.slice(0, 200)}`);
  }
}

// What a script in the page can see: headings that skip a level, things out of the window.
function look() {
  const out = [];
  let level = 0;
  for (const heading of document.querySelectorAll("main h1, main h2, main h3, main h4, main h5, main h6")) {
    const here = Number(heading.tagName[1]);
    if (here > level + 1) out.push(`heading of level ${here} after level ${level}: ${heading.textContent.slice(0, 60)}`);
    level = here;
  }
  const wide = document.documentElement;
  if (wide.scrollWidth > wide.clientWidth) out.push(`moves sideways: ${wide.scrollWidth} px in a window of ${wide.clientWidth}`);
  const scrolls = (e) => ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
  for (const e of document.querySelectorAll("main article *")) {
    const box = e.getBoundingClientRect();
    if (box.width < 2 || box.right <= wide.clientWidth + 1) continue;
    let up = e.parentElement;
    while (up && up.tagName !== "ARTICLE" && !scrolls(up)) up = up.parentElement;
    if (!up || up.tagName === "ARTICLE") {
      out.push(`stands out to ${Math.round(box.right)} px of ${wide.clientWidth}: ${e.outerHTML.slice(0, 140)}`);
      break;
    }
  }
  return out;
}

// axe takes a minute for a page of ten thousand coloured words of code. It needs each colour once: further words of a class
// lose their span.
function thin() {
  const seen = new Set();
  for (const span of document.querySelectorAll("div.highlight pre span, dt.sig span, code span")) {
    const key = [span.closest("div.highlight, dt.sig, code").localName, span.parentElement.className, span.className].join();
    if (seen.has(key)) span.replaceWith(...span.childNodes);
    seen.add(key);
  }
  for (const pre of document.querySelectorAll("pre, dt.sig, code")) pre.normalize();
}

// Contrast is a matter of style: of the words with the same ancestors by name and class, only the first stays visible.
function samples() {
  const seen = new Set();
  const path = (e) => (e ? `${path(e.parentElement)} ${e.localName}.${e.className}` : "");
  const words = [...document.querySelectorAll("body *")].filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  for (const [e, shown] of words.map((e) => [e, getComputedStyle(e).visibility === "visible"])) {
    const key = path(e);
    if (shown) e.style.visibility = seen.has(key) ? "hidden" : "visible";
    seen.add(key);
  }
}

const turn = (mode) => {
  document.documentElement.dataset.mode = mode;
  document.documentElement.dataset.theme = mode;
};

async function visited(visit, path) {
  const { page, tell } = await opened(visit, path);
  try {
    await page.goto(visit.base + path, { waitUntil: "load" });
    await settled(page);
    await page.addStyleTag({ content: "*, *::before, *::after { transition: none !important; animation: none !important; }" });
    for (const what of await page.evaluate(look)) tell(what);
    await page.evaluate(thin);
    await page.evaluate(AXE);
    await axe(page, tell, visit.scheme, RULES);
    const other = visit.scheme === "light" ? "dark" : "light";
    await page.evaluate(samples);
    await axe(page, tell, visit.scheme, CONTRAST);
    await page.evaluate(turn, other);
    await axe(page, tell, other, CONTRAST);
    await widgets(page, tell);
  } catch (error) {
    tell(`not checked: ${error.message.slice(0, 300)}`);
  }
  await page.context().close();
}

// Each widget by keyboard: a slider moved by an arrow key changes the description that is read aloud.
async function widgets(page, tell) {
  const names = await page.evaluate(() => [...new Set([...document.querySelectorAll("main *")].map((e) => e.localName).filter((n) => n.startsWith("course-")))]);
  for (const name of names) {
    const said = () => page.locator(`${name} [aria-live]`).first().textContent();
    const slider = page.locator(`${name} input[type=range]:not([disabled])`).first();
    if ((await slider.count()) === 0) continue;
    const before = await said();
    await slider.focus();
    for (const key of ["ArrowRight", "ArrowRight", "ArrowRight"]) await page.keyboard.press(key);
    await page.waitForTimeout(50);
    if (!before?.trim()) tell(`${name}: says nothing of its state`);
    else if ((await said()) === before) tell(`${name}: an arrow key on its first slider changes nothing that is read aloud`);
  }
}

// A word of the front page is searched by its field, as a reader would.
async function searched(visit) {
  const { page, tell } = await opened(visit, "search.html");
  try {
    await page.goto(`${visit.base}search.html?q=equation`, { waitUntil: "load" });
    await page.locator("#search-results li a").first().waitFor({ timeout: 15000 });
    const address = await page.locator("#search-results li a").first().getAttribute("href");
    if (!address) tell("the first result leads nowhere");
  } catch (error) {
    tell(`search finds nothing: ${error.message.slice(0, 120)}`);
  }
  await page.context().close();
}

const names = (await readdir(folder, { recursive: true })).map((name) => name.replaceAll("\\", "/"));
// index.html only sends its reader on; the listings of source code have one form, so three of them stand for all.
const listings = names.filter((name) => /^_modules\/.*\.html$/.test(name)).sort();
const pages = names.filter((name) => name.endsWith(".html") && !/^(_static|_sources|_downloads|_modules)\//.test(name));
const redirects = async (name) => /http-equiv="refresh"/i.test(await readFile(join(folder, name), "utf8"));
if (pages.includes("index.html") && (await redirects("index.html"))) pages.splice(pages.indexOf("index.html"), 1);
pages.push(...new Set([0, 0.5, 1].map((part) => listings[Math.round(part * (listings.length - 1))]).filter(Boolean)));
if (process.env.ONLY) pages.splice(0, pages.length, ...pages.filter((name) => new RegExp(process.env.ONLY).test(name)));
const work = VISITS.flatMap((visit) => pages.map((path) => () => visited(visit, path)));
if (pages.includes("search.html")) work.push(...VISITS.map((visit) => () => searched(visit)));
await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, async () => {
  while (work.length) await work.shift()();
}));
await browser.close();
server.close();
console.log(JSON.stringify({ faults, pages: pages.length }));
