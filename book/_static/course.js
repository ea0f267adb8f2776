// What the theme's pages lack for readers who use a screen reader, a keyboard or the disk. Each mend names whose fault it
// is and where it is reported; a mend goes when a new version of its package passes tests/test_browser.py without it.

// Sphinx: the search asks for each page it found, to quote it; a browser refuses that on disk (its issues 9156, 10407).
// Without quotations it works.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// pydata-sphinx-theme makes code and outputs that scroll reachable by keyboard, for which it measures all of them at once:
// a browser must then lay out the whole page before it shows the first lines. Here each is measured when it comes near.
// Not reported.
const every = document.querySelectorAll.bind(document);
document.querySelectorAll = (asked) => every(asked.startsWith("pre, .nboutput") ? ":not(*)" : asked);
const measure = (e) => { e.tabIndex = e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight ? 0 : -1; };
const near = new IntersectionObserver(
  (entries) => { for (const { isIntersecting, target } of entries) if (isIntersecting) measure(target); },
  { rootMargin: "100%" },
);
function watch() {
  near.disconnect();
  for (const e of every("pre, .cell_output > .output, .pst-scrollable-table-container")) near.observe(e);
}

// The theme draws its icons late, each with a title; inside a button that has a name they say nothing more.
function hush(button) {
  for (const icon of button.querySelectorAll("svg:not([aria-hidden=true])")) {
    icon.querySelector("title")?.remove();
    icon.removeAttribute("role");
    icon.removeAttribute("aria-labelledby");
    icon.setAttribute("aria-hidden", "true");
  }
  for (const icon of button.querySelectorAll("i[title]")) icon.removeAttribute("title");
}

function mend() {
  watch();
  addEventListener("resize", watch);
  for (const button of document.querySelectorAll(".theme-switch-button")) {
    hush(button);
    new MutationObserver(() => hush(button)).observe(button, { childList: true, subtree: true });
  }
  // sphinx-book-theme, pydata-sphinx-theme, myst-nb, sphinx-togglebutton: the name of a button leaves out the words that
  // stand on it (WCAG 2.5.3). Not reported.
  for (const e of document.querySelectorAll("button[aria-label]:not(.theme-switch-button), summary[aria-label]")) {
    const words = e.textContent.replace(/\s+/g, " ").trim();
    const label = e.getAttribute("aria-label");
    if (words && !label.toLowerCase().includes(words.toLowerCase())) e.setAttribute("aria-label", words);
  }
  // sphinx-book-theme: the book's name and its search stand in no landmark (pydata-sphinx-theme's pull request 1454).
  for (const e of document.querySelectorAll("#pst-primary-sidebar, .bd-sidebar-primary")) {
    if (e.closest("dialog, nav")) continue;
    e.setAttribute("role", "region");
    e.setAttribute("aria-label", "The book");
  }
  // Sphinx (docutils): a role that ARIA has given up (w3c/dpub-aria's pull request 22), in a list whose children are not
  // its items. Not reported to docutils.
  for (const e of document.querySelectorAll("[role=doc-biblioentry], div.citation-list[role=list]")) e.removeAttribute("role");
}

// After the scripts of the theme, which make some of what is mended.
document.addEventListener("DOMContentLoaded", mend);
