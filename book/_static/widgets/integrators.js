// Step size and eigenvalues against the phase portraits of four integrators on x' = Ax.
// A = [[a, b], [-b, a]] has the eigenvalues a ± ib. The numerics stand first and are tested against the course's library.

export const METHODS = ["euler", "backward_euler", "trapezoid", "verlet"];
const TITLES = { euler: "forward Euler", backward_euler: "backward Euler", trapezoid: "trapezoidal rule", verlet: "Verlet" };

const multiply = (M, N) => [
  M[0] * N[0] + M[1] * N[2], M[0] * N[1] + M[1] * N[3],
  M[2] * N[0] + M[3] * N[2], M[2] * N[1] + M[3] * N[3],
];

const inverse = (M) => {
  const det = M[0] * M[3] - M[1] * M[2];
  return [M[3] / det, -M[1] / det, -M[2] / det, M[0] / det];
};

/** One step of size h as a matrix, row by row; null where the method does not apply (Verlet wants a = 0). */
export function amplification(method, a, b, h) {
  const plus = (c) => [1 + c * a, c * b, -c * b, 1 + c * a]; // I + cA
  if (method === "euler") return plus(h);
  if (method === "backward_euler") return inverse(plus(-h));
  if (method === "trapezoid") return multiply(inverse(plus(-h / 2)), plus(h / 2));
  if (a !== 0) return null;
  const kick = [1, 0, (-h * b) / 2, 1]; // half a step of z
  return multiply(kick, multiply([1, h * b, 0, 1], kick));
}

/** Largest modulus of an eigenvalue. */
export function spectralRadius(M) {
  const half = (M[0] + M[3]) / 2, det = M[0] * M[3] - M[1] * M[2], root = half * half - det;
  return root < 0 ? Math.sqrt(det) : Math.abs(half) + Math.sqrt(root);
}

/** The start and the states after each of `steps` steps, as pairs. */
export function orbit(M, start, steps) {
  const path = [start];
  for (let k = 0; k < steps; k++) {
    const [y, z] = path[k];
    path.push([M[0] * y + M[1] * z, M[2] * y + M[3] * z]);
  }
  return path;
}

/** What a step does, in words. */
export function verdict(M, radius) {
  if (Math.abs(radius - 1) > 1e-9) return radius > 1 ? "grows" : "decays";
  const offDiagonal = Math.max(Math.abs(M[1]), Math.abs(M[2]));
  const double = Math.abs(((M[0] - M[3]) / 2) ** 2 + M[1] * M[2]) < 1e-9;
  return double && offDiagonal > 1e-6 ? "grows linearly" : "neither grows nor decays";
}

const STEPS = 60, START = [1, 0.4], REACH = 3, SIZE = 200;
const STYLE = `
  :host { display: block; margin: 1.5rem 0; color: var(--pst-color-text-base, #222); font-size: 0.9rem; }
  fieldset { min-inline-size: 0; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; display: flex; flex-wrap: wrap; gap: 0.4rem 1.2rem; }
  label { display: flex; flex-wrap: wrap; align-items: center; gap: 0.2rem 0.5rem; }
  input[type=range] { width: 9rem; accent-color: var(--pst-color-primary, #0072b2); }
  input[type=number] { width: 4.5rem; font: inherit; color: inherit; background: transparent; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; }
  button { font: inherit; color: inherit; background: transparent; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; padding: 0.2rem 0.8rem; }
  .panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: 0.6rem; margin-top: 0.6rem; }
  figure { margin: 0; }
  figcaption { text-align: center; }
  svg { box-sizing: border-box; width: 100%; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; }
  .axis { stroke: currentColor; stroke-opacity: 0.25; }
  .exact { fill: none; stroke: currentColor; stroke-opacity: 0.55; stroke-dasharray: 4 3; }
  .path { fill: none; stroke: var(--pst-color-primary, #0072b2); stroke-width: 1; }
  .dot { fill: var(--pst-color-primary, #0072b2); }
  .start { fill: currentColor; }
  text { fill: currentColor; font-size: 12px; }
`;

const CONTROLS = { // words, least, most, step, at first
  h: ["step size h", 0.05, 2.5, 0.05, 0.5], a: ["real part a", -1, 1, 0.05, 0], b: ["imaginary part b", 0, 2, 0.05, 1],
};
const control = ([name, [text, min, max, step]]) =>
  `<label>${text} <input type="range" name="${name}" min="${min}" max="${max}" step="${step}" aria-label="${text}">` +
  `<input type="number" data-for="${name}" min="${min}" max="${max}" step="any" aria-label="${text}, as a number"></label>`;

const x = (v) => (SIZE * (Math.max(-40, Math.min(40, v)) + REACH)) / (2 * REACH);
const point = ([y, z]) => `${x(y).toFixed(1)},${x(-z).toFixed(1)}`;

function exact(a, b, time) {
  const T = a === 0 && b > 0 ? Math.min(time, (2 * Math.PI) / b) : time; // once round is enough
  const path = [];
  for (let k = 0; k <= 240; k++) {
    const t = (T * k) / 240, r = Math.exp(a * t), c = Math.cos(b * t), s = Math.sin(b * t);
    path.push([r * (c * START[0] + s * START[1]), r * (c * START[1] - s * START[0])]);
  }
  return path;
}

function panel(name, M, a, b, h) {
  const middle = SIZE / 2;
  const axes = `<path class="axis" d="M0 ${middle}H${SIZE}M${middle} 0V${SIZE}"/>`;
  const flow = `<polyline class="exact" points="${exact(a, b, h * STEPS).map(point).join(" ")}"/>`;
  const start = `<circle class="start" cx="${x(START[0])}" cy="${x(-START[1])}" r="4"/>`;
  if (!M || !M.every(Number.isFinite)) {
    const words = M ? "no step: its equation is singular" : "needs real part 0";
    return { svg: axes + flow + start, words };
  }
  const path = orbit(M, START, STEPS), radius = spectralRadius(M), words = `${verdict(M, radius)}, radius ${radius.toFixed(3)}`;
  const dots = path.map((p) => { const [u, v] = point(p).split(","); return `<circle class="dot" cx="${u}" cy="${v}" r="1.8"/>`; });
  return { svg: axes + flow + `<polyline class="path" points="${path.map(point).join(" ")}"/>` + dots.join("") + start, words };
}

class Integrators extends (globalThis.HTMLElement ?? class {}) {
  connectedCallback() {
    if (this.shadowRoot) return;
    const root = this.attachShadow({ mode: "open" });
    root.innerHTML = `<style>${STYLE}</style><fieldset><legend>x′ = Ax, eigenvalues of A: a ± ib</legend>` +
      Object.entries(CONTROLS).map(control).join("") + `<button type="button">reset</button></fieldset><div class="panels">` +
      METHODS.map((name) => `<figure><svg viewBox="0 0 ${SIZE} ${SIZE}" role="img"></svg><figcaption></figcaption></figure>`).join("") +
      `</div><p aria-live="polite"></p><p>Dots: ${STEPS} steps from the large dot. Dashed: the exact flow over the same time.</p>`;
    root.addEventListener("input", ({ target }) => {
      const name = target.dataset.for ?? target.name, [, min, max] = CONTROLS[name], value = Number(target.value);
      if (target.value === "" || !(value >= min && value <= max)) return;
      this.values[name] = value;
      this.draw(target);
    });
    root.querySelector("button").addEventListener("click", () => this.reset());
    this.reset();
  }

  reset() {
    this.values = Object.fromEntries(Object.entries(CONTROLS).map(([name, control]) => [name, control[4]]));
    this.draw();
  }

  draw(typed) {
    const root = this.shadowRoot, { a, b, h } = this.values, said = [];
    for (const input of root.querySelectorAll("input")) if (input !== typed) input.value = this.values[input.dataset.for ?? input.name];
    root.querySelectorAll("figure").forEach((figure, k) => {
      const name = METHODS[k], M = amplification(name, a, b, h);
      const { svg, words } = panel(name, M, a, b, h);
      const picture = figure.querySelector("svg");
      picture.innerHTML = svg;
      picture.setAttribute("aria-label", `Phase portrait of ${TITLES[name]}: ${words}`);
      figure.querySelector("figcaption").textContent = `${TITLES[name]}: ${words}`;
      said.push(`${TITLES[name]} ${words}`);
    });
    const live = root.querySelector("[aria-live]");
    live.textContent = `h = ${h.toFixed(2)}, eigenvalues ${a.toFixed(2)} ± ${b.toFixed(2)}i, hb = ${(h * b).toFixed(2)}: ${said.join("; ")}.`;
  }
}

if (globalThis.customElements) customElements.define("course-integrators", Integrators);
