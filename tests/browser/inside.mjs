// What runs inside a page: each function is sent there whole and uses nothing but its arguments.

/** What a script can see: things that skip a level, stand out of the window, move unasked or cannot be reached. */
export function look() {
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
  const moving = document.getAnimations().filter((a) => a.playState === "running" && a.effect?.getComputedTiming().activeDuration > 200);
  if (moving.length) out.push(`moves though no motion is wanted: ${moving[0].effect.target?.outerHTML.slice(0, 140)}`);
  for (const svg of document.querySelectorAll("svg:has(animate, animateTransform, animateMotion)")) {
    if (!svg.animationsPaused()) out.push(`moves though no motion is wanted: ${svg.outerHTML.slice(0, 140)}`);
  }
  for (const e of document.querySelectorAll("a[href]:not(.headerlink), button, input, select, textarea, summary")) {
    if (e.tabIndex < 0 && !e.disabled && e.checkVisibility({ visibilityProperty: true })) {
      out.push(`cannot be reached by keyboard: ${e.outerHTML.slice(0, 140)}`);
    }
  }
  for (const image of document.querySelectorAll("main img")) {
    if (image.complete && image.naturalWidth === 0 && image.checkVisibility()) out.push(`picture missing: ${image.src.slice(-80)}`);
  }
  return out;
}

/** Everything is shown and loaded: folded parts, and pictures that wait for the reader. */
export async function unfold() {
  for (const e of document.querySelectorAll("section[style*='--tall']")) e.style.contentVisibility = "visible";
  for (const e of document.querySelectorAll("details")) e.open = true;
  const late = [...document.querySelectorAll("img[loading=lazy]")].filter((e) => e.checkVisibility());
  for (const e of late) e.loading = "eager";
  await Promise.all(late.map((e) => e.decode().catch(() => {})));
  await document.fonts.ready;
  // What scrolls becomes reachable as one comes near it.
  for (let y = 0; y < document.documentElement.scrollHeight; y += 2 * innerHeight) {
    scrollTo(0, y);
    await new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
  }
  scrollTo(0, 0);
}

/** Half of a page is words of code and letters of formulas, in elements that no rule tells apart: each kind once is enough. */
export function thin() {
  for (const formula of document.querySelectorAll("math")) formula.replaceChildren(formula.textContent);
  const seen = new Set();
  for (const span of document.querySelectorAll("div.highlight pre span, dt.sig span, code span")) {
    const key = [span.closest("div.highlight, dt.sig, code").localName, span.parentElement.className, span.className].join();
    if (seen.has(key)) span.replaceWith(...span.childNodes);
    seen.add(key);
  }
  for (const e of document.querySelectorAll("pre, dt.sig, code")) e.normalize();
}

/**
 * Contrast is a matter of style: of all words with the same colour, size, weight and grounds in both modes, the first
 * stay on the page and the others go. Returns how many stay.
 */
export function samples(modes) {
  const paint = (e) => {
    const grounds = [];
    for (let up = e; up; up = up.parentElement) {
      const { backgroundColor, backgroundImage, opacity } = getComputedStyle(up);
      grounds.push(`${backgroundColor} ${backgroundImage} ${opacity}`);
      if (/^rgb\(/.test(backgroundColor) && opacity === "1" && up.localName !== "a") break;
    }
    const { color, fontSize, fontWeight, textDecorationLine } = getComputedStyle(e);
    return [color, fontSize, fontWeight, textDecorationLine, getComputedStyle(e.parentElement).color, ...grounds].join("|");
  };
  const words = [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility({ visibilityProperty: true }) &&
    [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  const keys = words.map((e) => e.localName === "a");
  for (const mode of modes) {
    document.documentElement.dataset.theme = mode;
    words.forEach((e, k) => { keys[k] += paint(e); });
  }
  document.documentElement.dataset.theme = modes[0];
  const seen = new Set(), stay = new Set();
  const keep = (e) => { for (let up = e; up && !stay.has(up); up = up.parentElement) stay.add(up); };
  words.forEach((e, k) => {
    if (!seen.has(keys[k])) keep(e);
    seen.add(keys[k]);
  });
  for (const e of document.querySelectorAll("body *")) if (e.shadowRoot) keep(e);
  document.head.append(...document.querySelectorAll("body style, body link"));
  for (const e of document.querySelectorAll("body *")) if (!stay.has(e)) e.remove();
  return seen.size;
}
