// Four rates of the Lotka–Volterra equations against the pelts of hare and lynx, 1900 to 1920.
// u' = (alpha - beta v) u, v' = (delta u - gamma) v. The numerics stand first and are tested against the course's library.

export const HARE = [30, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22, 25.4, 27.1, 40.3, 57, 76.6, 52.3, 19.5, 11.2, 7.6, 14.6, 16.2, 24.7];
export const LYNX = [4, 6.1, 9.8, 35.2, 59.4, 41.7, 19, 13, 8.3, 9.1, 7.4, 8, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1, 8.6];
export const FIT = { alpha: 0.5402, beta: 0.0272, gamma: 0.7964, delta: 0.0237 };
export const START = [34.6, 5.84];
const STEPS = 40; // of RK4 a year

/** States at the 21 years and between them, `per` a year, from the start; RK4 in logarithms, so they stay positive. */
export function path({ alpha, beta, gamma, delta }, start = START, per = 1) {
  const slope = ([y, z]) => [alpha - beta * Math.exp(z), delta * Math.exp(y) - gamma];
  const along = ([y, z], [a, b], h) => [y + h * a, z + h * b];
  const h = 1 / STEPS, out = [start];
  let x = start.map(Math.log);
  for (let k = 1; k <= 20 * STEPS; k++) {
    const k1 = slope(x), k2 = slope(along(x, k1, h / 2)), k3 = slope(along(x, k2, h / 2)), k4 = slope(along(x, k3, h));
    x = [0, 1].map((j) => x[j] + (h / 6) * (k1[j] + 2 * k2[j] + 2 * k3[j] + k4[j]));
    if (k % (STEPS / per) === 0) out.push(x.map(Math.exp));
  }
  return out;
}

/** Root mean square of log model - log data over the 42 numbers. */
export function rmse(rates, start = START) {
  let sum = 0;
  path(rates, start).forEach(([u, v], i) => { sum += Math.log(u / HARE[i]) ** 2 + Math.log(v / LYNX[i]) ** 2; });
  return Math.sqrt(sum / 42);
}

const W = 340, H = 190, LOW = 2, HIGH = 200;
const NAMES = {
  alpha: ["α, births of hares", 0.2, 1.2, 0.0002, 4], beta: ["β, hares lost to lynx", 0.01, 0.06, 0.0001, 4],
  gamma: ["γ, deaths of lynx", 0.3, 1.5, 0.0002, 4], delta: ["δ, lynx fed by hares", 0.01, 0.05, 0.0001, 4],
};
const STYLE = `
  :host { display: block; margin: 1.5rem 0; color: var(--pst-color-text-base, #222); font-size: 0.9rem; }
  fieldset { min-inline-size: 0; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; display: grid;
    grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 0.4rem 1.2rem; }
  label { display: flex; flex-wrap: wrap; align-items: center; gap: 0.2rem 0.5rem; }
  label span { flex: 1 0 100%; }
  input[type=range] { flex: 1; min-width: 6rem; accent-color: var(--pst-color-primary, #0072b2); }
  input[type=number] { width: 5.5rem; font: inherit; color: inherit; background: transparent; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; }
  button { font: inherit; color: inherit; background: transparent; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; padding: 0.2rem 0.8rem; align-self: end; justify-self: start; }
  .panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 0.6rem; margin-top: 0.6rem; }
  figure { margin: 0; }
  figcaption { text-align: center; }
  svg { box-sizing: border-box; width: 100%; border: 1px solid var(--pst-color-border, #aaa); border-radius: 4px; }
  .grid { stroke: currentColor; stroke-opacity: 0.2; }
  .path { fill: none; stroke: var(--pst-color-primary, #0072b2); stroke-width: 2; }
  .stem { stroke: currentColor; stroke-opacity: 0.45; }
  .dot { fill: currentColor; }
  text { fill: currentColor; font-size: 11px; }
`;

const left = 30, right = 16;
const px = (year) => left + ((W - left - right) * year) / 20;
const py = (n) => 8 + (H - 30) * (Math.log(HIGH / Math.min(1000, Math.max(0.2, n))) / Math.log(HIGH / LOW));

function picture(data, states, j) {
  const lines = [5, 20, 50, 100].map((n) => `<path class="grid" d="M${left} ${py(n)}H${W - right}"/><text x="2" y="${py(n) + 4}">${n}</text>`);
  const years = [0, 5, 10, 15, 20].map((k) => `<text x="${px(k) - 12}" y="${H - 6}">${1900 + k}</text>`);
  const curve = states.map((x, i) => `${px(i / 10).toFixed(1)},${py(x[j]).toFixed(1)}`).join(" ");
  const marks = data.map((n, i) => `<path class="stem" d="M${px(i)} ${py(n)}V${py(states[10 * i][j])}"/><circle class="dot" cx="${px(i)}" cy="${py(n)}" r="2.6"/>`);
  return lines.join("") + years.join("") + marks.join("") + `<polyline class="path" points="${curve}"/>`;
}

class Pelts extends (globalThis.HTMLElement ?? class {}) {
  connectedCallback() {
    if (this.shadowRoot) return;
    const root = this.attachShadow({ mode: "open" });
    root.innerHTML = `<style>${STYLE}</style><fieldset><legend>Rates of the equations, 1/year</legend>` +
      Object.entries(NAMES).map(([name, [text, min, max, step]]) =>
        `<label><span>${text}</span><input type="range" name="${name}" min="${min}" max="${max}" step="${step}" aria-label="${text}">` +
        `<input type="number" data-for="${name}" min="${min}" max="${max}" step="${step}" aria-label="${text}, as a number"></label>`).join("") +
      `<button type="button">back to the fit</button></fieldset><div class="panels">` +
      ["hare", "lynx"].map((name) => `<figure><svg viewBox="0 0 ${W} ${H}" role="img"></svg><figcaption>thousands of ${name} pelts</figcaption></figure>`).join("") +
      `</div><p aria-live="polite"></p><p>Dots: pelts. Curve: solution from ${START[0]} thousand hares and ${START[1]} thousand lynx in 1900. Stems: what it misses, on a logarithmic scale.</p>`;
    this.rates = { ...FIT };
    root.addEventListener("input", ({ target }) => {
      const name = target.dataset.for ?? target.name, [, min, max] = NAMES[name], value = Number(target.value);
      if (target.value === "" || !(value >= min && value <= max)) return;
      this.rates[name] = value;
      this.draw(target);
    });
    root.querySelector("button").addEventListener("click", () => { this.rates = { ...FIT }; this.draw(); });
    this.draw();
  }

  draw(typed) {
    const root = this.shadowRoot, states = path(this.rates, START, 10), error = rmse(this.rates);
    for (const [name, value] of Object.entries(this.rates)) {
      for (const input of root.querySelectorAll(`[name=${name}], [data-for=${name}]`)) if (input !== typed) input.value = value;
    }
    root.querySelectorAll("svg").forEach((svg, j) => {
      svg.innerHTML = picture(j ? LYNX : HARE, states, j);
      const largest = Math.max(...states.map((x) => x[j]));
      svg.setAttribute("aria-label", `Pelts of ${j ? "lynx" : "hare"} and the solution, whose highest point is ${largest.toFixed(0)} thousand`);
    });
    const factor = error < Math.log(10) ? `a typical miss by a factor of ${Math.exp(error).toFixed(2)}` : "far from the data";
    root.querySelector("[aria-live]").textContent = `RMSE of logarithms ${error.toFixed(4)}: ${factor}. The best six numbers have ${rmse(FIT).toFixed(4)}.`;
  }
}

if (globalThis.customElements) customElements.define("course-pelts", Pelts);
