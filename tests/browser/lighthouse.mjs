// Lighthouse's four scores of every chapter of a built book, as on a phone and as on a desktop; fails below 95. It is no
// part of `make test`, which measures what makes up the scores (test_browser.py), and is installed somewhere else:
//
//   npm install --prefix /tmp/lighthouse lighthouse
//   node tests/browser/lighthouse.mjs _build/html /usr/bin/chromium /tmp/lighthouse/node_modules/.bin/lighthouse [PAGE ...]

import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import { promisify } from "node:util";
import { serve } from "./serve.mjs";

const [folder, chromium, lighthouse, ...asked] = process.argv.slice(2);
const chapters = (await readdir(`${folder}/book`)).filter((name) => /^ch\d.*\.html$/.test(name)).map((name) => `book/${name}`);
const flags = `--headless --disable-gpu${process.getuid?.() === 0 ? " --no-sandbox" : ""}`;
const host = await serve(folder);
for (const page of asked.length ? asked : chapters) {
  for (const preset of [[], ["--preset=desktop"]]) {
    const options = ["--quiet", "--output=json", `--chrome-flags=${flags}`, ...preset];
    const { stdout } = await promisify(execFile)(lighthouse, [host.origin + page, ...options], {
      env: { ...process.env, CHROME_PATH: chromium }, maxBuffer: 2 ** 28,
    });
    const { categories, audits } = JSON.parse(stdout);
    const scores = Object.values(categories).map(({ id, score }) => `${id} ${Math.round(100 * score)}`);
    const times = ["first-contentful-paint", "largest-contentful-paint", "total-blocking-time", "cumulative-layout-shift"];
    console.log(`${page} (${preset.length ? "desktop" : "phone"}): ${[...scores, ...times.map((id) => audits[id].displayValue)].join(", ")}`);
    if (Object.values(categories).some(({ score }) => score < 0.95)) process.exitCode = 1;
  }
}
host.close();
