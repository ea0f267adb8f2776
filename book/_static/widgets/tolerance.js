// Tolerance against evaluations, error and steps of the adaptive method of Dormand and Prince on planar fields.
// The numerics stand first, follow course_lib.integrators.dopri5 line by line and are tested against it.

export const FIELDS = {
  oscillator: { title: "oscillator", f: (t, [q, p]) => [p, -q], x0: [1, 0], T: 12 },
  lotka_volterra: { title: "Lotka–Volterra", f: (t, [u, v]) => [u * (1.5 - v), v * (u - 3)], x0: [1, 1], T: 10 },
  cubic_spiral: {
    title: "cubic spiral", x0: [2, 0], T: 12,
    f: (t, [u, v]) => [-0.1 * u ** 3 + 2 * v ** 3, -2 * u ** 3 - 0.1 * v ** 3],
  },
  van_der_pol: { title: "Van der Pol, μ = 8", f: (t, [q, p]) => [p, 8 * (1 - q * q) * p - q], x0: [2, 0], T: 24 },
  kinked: { title: "a field with ReLU", f: (t, [q, p]) => [p, 1 - 6 * Math.max(q, 0)], x0: [-0.5, 0], T: 12 },
};

const C = [1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1];
const A = [
  [1 / 5],
  [3 / 40, 9 / 40],
  [44 / 45, -56 / 15, 32 / 9],
  [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
  [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
  [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
];
const E = [71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40];
const SAFETY = 0.9, SHRINK = 0.2, GROW = 10, STRETCH = 1.1;

const combine = (x, h, weights, k) => x.map((v, i) => weights.reduce((sum, w, j) => sum + h * w * k[j][i], v));
const rms = (v) => Math.sqrt(v.reduce((sum, w) => sum + w * w, 0) / v.length);

function firstStep(f, x, k, span, tol) {
  const over = (v) => rms(v.map((w, i) => w / (tol + tol * Math.abs(x[i]))));
  const size = over(x), slope = over(k);
  const trial = Math.min(Math.min(size, slope) < 1e-5 ? 1e-6 : (0.01 * size) / slope, span);
  const bend = f(trial, combine(x, trial, [1], [k])).map((v, i) => v - k[i]);
  const largest = Math.max(slope, over(bend) / trial);
  if (!(largest < Infinity)) return trial;
  const h = largest <= 1e-15 ? Math.max(1e-6, 1e-3 * trial) : (0.01 / largest) ** 0.2;
  return Math.min(100 * trial, h, span);
}

/** From x0 at time 0 to T with rtol = atol = tol; null if max steps were not enough. */
export function dopri5(f, x0, T, tol, max = 20000) {
  let t = 0, x = x0, slope = f(0, x0), h = firstStep(f, x0, slope, T, tol);
  const steps = [], path = [x0];
  while (t !== T) {
    if (steps.length === max || h < 1e-15 * Math.max(1, t)) return null;
    const final = T - t <= STRETCH * h;
    if (final) h = T - t;
    const k = [slope];
    let y = x;
    A.forEach((row, i) => { y = combine(x, h, row, k); k.push(f(t + C[i] * h, y)); });
    const zero = x.map(() => 0), e = combine(zero, h, E, k);
    const error = rms(e.map((v, i) => v / (tol + tol * Math.max(Math.abs(x[i]), Math.abs(y[i])))));
    const accepted = error <= 1;
    steps.push({ t, h, error, accepted });
    if (accepted) { t = final ? T : t + h; x = y; slope = k[6]; path.push(x); }
    const most = accepted ? GROW : 1;
    if (!(error < Infinity)) h *= SHRINK;
    else if (error === 0) h *= most;
    else h *= Math.min(most, Math.max(SHRINK, SAFETY * error ** -0.2));
  }
  const accepted = steps.filter((s) => s.accepted).length;
  return { x, path, steps, accepted, rejected: steps.length - accepted, nfe: 2 + 6 * steps.length };
}

/** Error at T and evaluations for every tolerance, against a solve at 1e-11. */
export function sweep(name, tolerances) {
  const { f, x0, T } = FIELDS[name], exact = dopri5(f, x0, T, 1e-11).x;
  return tolerances.map((tol) => {
    const s = dopri5(f, x0, T, tol);
    return { tol, nfe: s.nfe, error: Math.max(...s.x.map((v, i) => Math.abs(v - exact[i]))) };
  });
}

const TOLERANCES = Array.from({ length: 15 }, (_, k) => 10 ** (-2 - k / 2));
const W = 330, H = 190, LEFT = 52, RIGHT = 10, TOP = 10, LOW = 30;
const STYLE = `
  :host { display: block; margin: 1.5rem 0; color: var(--pst-color-text-base, #222); font-size: 0.9rem; }
  fieldset { min-inline-size: 0; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; display: flex; flex-wrap: wrap; gap: 0.4rem 1.2rem; }
  label { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; }
  select { font: inherit; color: inherit; background: var(--pst-color-background, #fff); }
  input[type=range] { width: 10rem; max-width: 100%; accent-color: var(--pst-color-primary, #0072b2); }
  input[type=number] { width: 4.5rem; font: inherit; color: inherit; background: transparent; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; }
  button { font: inherit; color: inherit; background: transparent; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; padding: 0.2rem 0.8rem; }
  .panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 0.6rem; margin-top: 0.6rem; }
  figure { margin: 0; }
  figcaption { text-align: center; }
  svg { box-sizing: border-box; width: 100%; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; }
  .axis { stroke: currentColor; stroke-opacity: 0.3; fill: none; }
  .a { fill: none; stroke: var(--pst-color-primary, #0072b2); stroke-width: 1.3; }
  .b { fill: none; stroke: currentColor; stroke-width: 1.3; stroke-dasharray: 5 3; }
  .dot { fill: var(--pst-color-primary, #0072b2); }
  .other { fill: currentColor; }
  .cross { stroke: currentColor; stroke-width: 1.4; }
  .here { fill: none; stroke: currentColor; stroke-width: 1.6; }
  text { fill: currentColor; font-size: 11px; }
`;

const scale = (low, high, from, to) => (v) => from + ((v - low) / (high - low || 1)) * (to - from);
const points = (pairs) => pairs.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" ");
const axes = `<path class="axis" d="M${LEFT} ${TOP}V${H - LOW}H${W - RIGHT}"/>`;
const words = (text, x, y, anchor = "middle") => `<text x="${x}" y="${y}" text-anchor="${anchor}">${text}</text>`;
const RAISED = { "-": "⁻", "+": "", ...Object.fromEntries([..."⁰¹²³⁴⁵⁶⁷⁸⁹"].entries()) };
const powers = (v, digits) => v.toExponential(digits).replace(/e(.*)/, (_, e) => `·10${[...e].map((c) => RAISED[c]).join("")}`);
const power = (v) => (v >= 1000 || v < 0.01 ? powers(v, 0) : Number(v.toPrecision(2)).toString());

function drawPath(s, T) {
  const ends = [0, ...s.steps.filter((v) => v.accepted).map((v) => v.t + v.h)];
  const all = s.path.flat(), low = Math.min(...all), high = Math.max(...all);
  const x = scale(0, T, LEFT, W - RIGHT), y = scale(low, high, H - LOW, TOP);
  const lines = [0, 1].map((i) => {
    const at = s.path.map((p, j) => [x(ends[j]), y(p[i])]);
    const dots = at.map(([a, b]) => `<circle class="${i ? "other" : "dot"}" cx="${a.toFixed(1)}" cy="${b.toFixed(1)}" r="1.7"/>`);
    return `<polyline class="${i ? "b" : "a"}" points="${points(at)}"/>${dots.join("")}`;
  });
  return axes + lines.join("") + words("time", (W + LEFT) / 2, H - 8) + words(power(high), LEFT - 4, TOP + 8, "end") + words(power(low), LEFT - 4, H - LOW, "end");
}

function drawSteps(s, T) {
  const sizes = s.steps.map((v) => Math.log10(v.h)), low = Math.min(...sizes), high = Math.max(...sizes);
  const x = scale(0, T, LEFT, W - RIGHT), y = scale(low, high, H - LOW - 4, TOP + 4);
  const marks = s.steps.map((v) => {
    const a = x(v.t).toFixed(1), b = y(Math.log10(v.h)).toFixed(1);
    return v.accepted ? `<circle class="dot" cx="${a}" cy="${b}" r="2"/>` : `<path class="cross" d="M${a - 3} ${b - 3}l6 6m0 -6l-6 6"/>`;
  });
  return axes + marks.join("") + words("time", (W + LEFT) / 2, H - 8) + words(power(10 ** high), LEFT - 4, TOP + 8, "end") + words(power(10 ** low), LEFT - 4, H - LOW, "end");
}

function drawSweep(rows, now) {
  const x = scale(-2, -9, LEFT, W - RIGHT);
  const panel = (key, top, bottom, style, label) => {
    const v = rows.map((r) => Math.log10(Math.max(r[key], 1e-14))), low = Math.min(...v), high = Math.max(...v);
    const y = scale(low, high, bottom, top + 4), here = Math.log10(Math.max(now[key], 1e-14));
    return `<polyline class="${style}" points="${points(rows.map((r, i) => [x(Math.log10(r.tol)), y(v[i])]))}"/>` +
      `<circle class="here" cx="${x(Math.log10(now.tol))}" cy="${y(Math.max(low, Math.min(high, here)))}" r="5"/>` +
      words(power(10 ** high), LEFT - 4, top + 12, "end") + words(power(10 ** low), LEFT - 4, bottom, "end") + words(label, W - RIGHT, key === "nfe" ? bottom - 4 : top + 12, "end");
  };
  const middle = (TOP + H - LOW) / 2;
  return axes + panel("error", TOP, middle - 8, "a", "error at the end") + panel("nfe", middle + 4, H - LOW, "b", "evaluations") +
    words("tolerance: 0.01 to 10⁻⁹", (W + LEFT) / 2, H - 8);
}

class Tolerance extends (globalThis.HTMLElement ?? class {}) {
  connectedCallback() {
    if (this.shadowRoot) return;
    const root = this.attachShadow({ mode: "open" });
    const options = Object.entries(FIELDS).map(([name, { title }]) => `<option value="${name}">${title}</option>`).join("");
    const figure = (name, caption) => `<figure><svg id="${name}" viewBox="0 0 ${W} ${H}" role="img"></svg><figcaption>${caption}</figcaption></figure>`;
    root.innerHTML = `<style>${STYLE}</style><fieldset><legend>dopri5 on x′ = f(t, x)</legend>` +
      `<label>field <select name="field">${options}</select></label>` +
      `<label>tolerance, 10 to the power <input type="range" min="-9" max="-2" step="0.25" aria-label="tolerance, 10 to the power">` +
      `<input type="number" min="-9" max="-2" step="any" aria-label="tolerance, 10 to the power, as a number"></label>` +
      `<button type="button">reset</button></fieldset>` +
      `<div class="panels">${figure("path", "both components; dots: ends of steps")}${figure("steps", "step sizes; crosses: rejected")}` +
      `${figure("sweep", "error and evaluations against tolerance; rings: now")}</div><p aria-live="polite"></p>`;
    this.sweeps = {};
    root.addEventListener("input", ({ target }) => {
      if (target.localName === "input") {
        if (target.value === "" || !(target.value >= -9 && target.value <= -2)) return;
        this.power = Number(target.value);
      }
      this.draw(target);
    });
    root.querySelector("button").addEventListener("click", () => this.reset());
    this.reset();
  }

  reset() {
    this.shadowRoot.querySelector("select").value = "lotka_volterra";
    this.power = -4;
    this.draw();
  }

  draw(typed) {
    const root = this.shadowRoot, name = root.querySelector("select").value;
    for (const input of root.querySelectorAll("input")) if (input !== typed) input.value = this.power;
    const tol = 10 ** this.power, { f, x0, T, title } = FIELDS[name];
    this.sweeps[name] ??= sweep(name, TOLERANCES);
    const s = dopri5(f, x0, T, tol), now = sweep(name, [tol])[0];
    const shown = powers(tol, 1);
    root.querySelector("[type=range]").setAttribute("aria-valuetext", shown);
    const sizes = s.steps.filter((v) => v.accepted).map((v) => v.h);
    const told = `${s.accepted} steps taken, ${s.rejected} rejected, sizes ${power(Math.min(...sizes))} to ${power(Math.max(...sizes))}`;
    const pictures = {
      path: [drawPath(s, T), `Solution of ${title} over a time of ${T}: ${s.accepted} steps`],
      steps: [drawSteps(s, T), `Step sizes against time: ${told}`],
      sweep: [drawSweep(this.sweeps[name], now), `At this tolerance the error at the end is ${power(now.error)}, for ${now.nfe} evaluations`],
    };
    for (const [id, [svg, label]] of Object.entries(pictures)) {
      const picture = root.getElementById(id);
      picture.innerHTML = svg;
      picture.setAttribute("aria-label", label);
    }
    root.querySelector("[aria-live]").textContent =
      `${title}, tolerance ${shown}: ${told}; ${s.nfe} evaluations; error at the end ${power(now.error)}, ${power(now.error / tol)} times the tolerance.`;
  }
}

if (globalThis.customElements) customElements.define("course-tolerance", Tolerance);
