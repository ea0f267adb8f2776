// Two trajectories that should change places: on a line they cannot, with one more dimension they can.
// The field is x' = a tanh(2x) + b + c sin(2 pi t) - w z, z' = w x; on the line z is left out and w with it.
// The numerics stand first and are tested against the course's library.

export const STEPS = 120, T = 1, TARGETS = [[1, -1], [-1, 1]];

/** dx/dt of the state [x] or [x, z] at time t. */
export function field({ a, b, c, w }, t, s) {
  const own = a * Math.tanh(2 * s[0]) + b + c * Math.sin(2 * Math.PI * t);
  return s.length === 1 ? [own] : [own - w * s[1], w * s[0]];
}

/** The states at 0, h, 2h, ..., 1 by the classical Runge-Kutta method. */
export function path(p, start, steps = STEPS) {
  const h = T / steps, states = [start];
  const move = (s, k, c) => s.map((v, i) => v + c * k[i]);
  for (let n = 0; n < steps; n++) {
    const t = n * h, s = states[n];
    const k1 = field(p, t, s), k2 = field(p, t + h / 2, move(s, k1, h / 2));
    const k3 = field(p, t + h / 2, move(s, k2, h / 2)), k4 = field(p, t + h, move(s, k3, h));
    states.push(s.map((v, i) => v + (h / 6) * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i])));
  }
  return states;
}

/** Mean smooth L1 loss of the two ends: e²/2 for an error e below 1, |e| - 1/2 above. */
export function loss(paths) {
  const errors = paths.map((states, i) => Math.abs(states[states.length - 1][0] - TARGETS[i][1]));
  return errors.reduce((sum, e) => sum + (e < 1 ? (e * e) / 2 : e - 0.5), 0) / errors.length;
}

/** Smallest distance of the two paths at equal times, and the first time at which x changes order (null if never). */
export function meeting(paths) {
  let nearest = Infinity, when = null;
  for (let n = 0; n < paths[0].length; n++) {
    const gap = paths[0][n].map((v, i) => v - paths[1][n][i]);
    nearest = Math.min(nearest, Math.hypot(...gap));
    if (when === null && gap[0] <= 0) when = (n * T) / (paths[0].length - 1);
  }
  return { nearest, when };
}

/** Turn the point (t, x, z) by `azimuth` about the x axis, tilt it by `elevation`, and drop the depth: [right, up]. */
export function project([t, x, z], azimuth, elevation) {
  const u = t - 0.5, ca = Math.cos(azimuth), sa = Math.sin(azimuth);
  const right = 2 * u * ca - z * sa, depth = 2 * u * sa + z * ca;
  return [right, x * Math.cos(elevation) + depth * Math.sin(elevation)];
}

const W = 440, H = 330, SCALE = 92;
const STYLE = `
  :host { display: block; margin: 1.5rem 0; color: var(--pst-color-text-base, #222); font-size: 0.9rem; }
  fieldset { min-inline-size: 0; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; display: flex; flex-wrap: wrap; gap: 0.4rem 1.2rem; margin-bottom: 0.5rem; }
  label { display: flex; flex-wrap: wrap; align-items: center; gap: 0 0.5rem; }
  input[type=range] { width: 8rem; accent-color: var(--pst-color-primary, #0072b2); }
  input[type=number] { width: 4.5rem; font: inherit; color: inherit; background: transparent; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; }
  button { font: inherit; color: inherit; background: transparent; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; padding: 0.2rem 0.8rem; }
  svg { box-sizing: border-box; width: 100%; max-width: 36rem; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; touch-action: pan-y; }
  svg.turns { cursor: grab; }
  .axis { stroke: currentColor; stroke-opacity: 0.35; fill: none; }
  .wall { stroke: currentColor; stroke-opacity: 0.35; fill: currentColor; fill-opacity: 0.05; }
  .one, .two { fill: none; stroke-width: 2.6; }
  .one { stroke: #d55e00; } .two { stroke: var(--pst-color-primary, #0072b2); stroke-dasharray: 7 3; }
  .shadow { stroke-width: 1.2; stroke-opacity: 0.55; }
  .target { fill: none; stroke: currentColor; stroke-width: 1.6; }
  .dot { fill: currentColor; }
  text { fill: currentColor; font-size: 13px; }
  [disabled] { opacity: 0.45; }
`;

const CONTROLS = { // words, least, most, step
  a: ["a: squeeze or spread", -8, 3, 0.1], b: ["b: push", -3, 3, 0.1], c: ["c: push and pull", -6, 6, 0.1], w: ["w: turn", 0, 6.28, 0.01],
  azimuth: ["turn, degrees", -180, 180, 1], elevation: ["tilt, degrees", -80, 80, 1],
};
const LINE = { a: -2, b: 0, c: 0, w: 0, azimuth: -35, elevation: 20 }, PLANE = { ...LINE, a: 0, w: 3.14 };
const slider = (name) => {
  const [text, min, max, step] = CONTROLS[name];
  return `<label>${text} <input type="range" name="${name}" min="${min}" max="${max}" step="${step}" aria-label="${text}">` +
    `<input type="number" data-for="${name}" min="${min}" max="${max}" step="any" aria-label="${text}, as a number"></label>`;
};

const at = ([right, up]) => [W / 2 + SCALE * right, H / 2 - SCALE * up];
const clip = (v) => Math.max(-9, Math.min(9, v));

function line(points, view, kind) {
  const text = points.map((p) => at(project(p.map(clip), ...view)).map((v) => v.toFixed(1)).join(",")).join(" ");
  return `<polyline class="${kind}" points="${text}"/>`;
}

function spot(point, view, kind, r) {
  const [x, y] = at(project(point, ...view));
  return `<circle class="${kind}" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${r}"/>`;
}

function word(point, view, text) {
  const [x, y] = at(project(point, ...view));
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="middle">${text}</text>`;
}

class Crossing extends (globalThis.HTMLElement ?? class {}) {
  connectedCallback() {
    if (this.shadowRoot) return;
    const root = this.attachShadow({ mode: "open" });
    root.innerHTML = `<style>${STYLE}</style>` +
      `<fieldset><legend>Send 1 to −1 and −1 to 1</legend>` +
      `<label><input type="radio" name="space" value="1" checked> on the line</label>` +
      `<label><input type="radio" name="space" value="2"> with one more dimension z</label></fieldset>` +
      `<fieldset><legend>x′ = a·tanh(2x) + b + c·sin(2πt) <span>− w·z, z′ = w·x</span></legend>` +
      ["a", "b", "c", "w"].map(slider).join("") + `<button type="button">reset</button></fieldset>` +
      `<fieldset><legend>View (or drag the picture)</legend>` + ["azimuth", "elevation"].map(slider).join("") + `</fieldset>` +
      `<svg viewBox="0 0 ${W} ${H}" role="img"></svg><p aria-live="polite"></p>` +
      `<p>Solid: from 1. Dashed: from −1. Rings: where they should end. Thin, with z: their shadows on the plane of t and x.</p>`;
    root.addEventListener("input", ({ target }) => {
      if (target.name === "space") return this.reset();
      const name = target.dataset.for ?? target.name, [, min, max] = CONTROLS[name], value = Number(target.value);
      if (target.value === "" || !(value >= min && value <= max)) return;
      this.values[name] = value;
      this.draw(target);
    });
    root.querySelector("button").addEventListener("click", () => this.reset());
    const picture = root.querySelector("svg");
    let last = null;
    picture.addEventListener("pointerdown", (e) => { last = [e.clientX, e.clientY]; picture.setPointerCapture(e.pointerId); });
    for (const end of ["pointerup", "pointercancel"]) picture.addEventListener(end, () => { last = null; });
    picture.addEventListener("pointermove", (e) => {
      if (!last || this.space === 1) return;
      ["azimuth", "elevation"].forEach((name, i) => {
        const [, min, max] = CONTROLS[name], moved = this.values[name] + ([e.clientX, e.clientY][i] - last[i]) / 2;
        this.values[name] = Math.max(min, Math.min(max, moved));
      });
      last = [e.clientX, e.clientY];
      this.draw();
    });
    this.reset();
  }

  reset() {
    this.values = { ...(this.space === 1 ? LINE : PLANE) };
    this.draw();
  }

  get space() {
    return Number(this.shadowRoot.querySelector("[name=space]:checked").value);
  }

  draw(typed) {
    const root = this.shadowRoot, value = this.values, flat = this.space === 1;
    for (const input of root.querySelectorAll("input:not([name=space])")) {
      const name = input.dataset.for ?? input.name;
      if (input !== typed) input.value = value[name];
      input.disabled = flat && ["w", "azimuth", "elevation"].includes(name);
    }
    root.querySelector("legend span").hidden = flat;
    const view = flat ? [0, 0] : [(value.azimuth * Math.PI) / 180, (value.elevation * Math.PI) / 180];
    const paths = TARGETS.map(([start]) => path(value, flat ? [start] : [start, 0]));
    const lifted = paths.map((states) => states.map((s, n) => [(n * T) / STEPS, s[0], s[1] ?? 0]));
    const wall = [[0, -1.5, 0], [1, -1.5, 0], [1, 1.5, 0], [0, 1.5, 0], [0, -1.5, 0]];
    let svg = line(wall, view, "wall") + line([[0, 0, 0], [1, 0, 0]], view, "axis") + word([0.5, -1.72, 0], view, "time t from 0 to 1") + word([0, 1.55, 0], view, "x");
    if (!flat) svg += line([[0, 0, -1.3], [0, 0, 1.3]], view, "axis") + word([0, 0, 1.45], view, "z");
    lifted.forEach((points, i) => {
      const kind = ["one", "two"][i];
      if (!flat) svg += line(points.map(([t, x]) => [t, x, 0]), view, `${kind} shadow`);
      svg += line(points, view, kind) + spot(points[0], view, "dot", 4) + spot([1, TARGETS[i][1], 0], view, "target", 7);
    });
    const { nearest, when } = meeting(paths), ends = paths.map((states) => states[STEPS][0].toFixed(2).replace("-", "−"));
    const error = loss(paths);
    const order = when === null ? "the path from 1 stays above the other" : `x changes order at t = ${when.toFixed(2)}`;
    const floor = flat ? "; on the line it cannot come below 0.5" : "";
    const said = `1 goes to ${ends[0]}, −1 to ${ends[1]}; ${order}; the paths come no nearer than ${nearest.toFixed(3)}. ` +
      `Loss (smooth L1) ${error.toFixed(3)}${floor}.`;
    const picture = root.querySelector("svg");
    picture.classList.toggle("turns", !flat);
    picture.innerHTML = svg;
    picture.setAttribute("aria-label", `Two trajectories ${flat ? "on a line" : "in the plane of x and z"}, against time. ${said}`);
    root.querySelector("[aria-live]").textContent = said;
  }
}

if (globalThis.customElements) customElements.define("course-crossing", Crossing);
