/** TeX as MathML, which browsers draw themselves; the page loads the library with the first formula. */

/** Formulas beyond these stay source: the time of layout doubles with every fraction in a fraction. */
const LONGEST = 5000;
const DEEPEST = 12;

/** @typedef {typeof import("../vendor/temml/temml.mjs").default} Temml */

/** @type {Temml | null} */
let temml = null;

/**
 * Returns an element that shows a formula: its source first, drawn once the library is there.
 * @param {string} source TeX
 * @param {boolean} block
 */
export function formula(source, block) {
  const shown = document.createElement(block ? "div" : "span");
  shown.className = "formula";
  shown.textContent = source;
  if (source.length > LONGEST || depth(source) > DEEPEST) return shown;
  if (temml) draw(temml, shown, source, block);
  else loaded().then((library) => draw(library, shown, source, block));
  return shown;
}

/**
 * Returns how many groups of a formula stand within each other at most.
 * @param {string} source
 */
function depth(source) {
  let [deepest, open] = [0, 0];
  for (const [mark] of source.matchAll(/\\[\\{}]|[{}]|\\(?:left|right|begin|end)(?![a-z])/gi)) {
    if (mark === "{" || mark === "\\left" || mark === "\\begin") deepest = Math.max(deepest, ++open);
    else if (mark.length === 1 || /[a-z]/.test(mark)) open--;
  }
  return deepest;
}

async function loaded() {
  return (temml ??= (await import("../vendor/temml/temml.mjs")).default);
}

/**
 * Draws a formula into `shown`. `trust` stays off: no command of a formula may make a link or an image. What cannot be drawn stays source.
 * @param {Temml} library
 * @param {HTMLElement} shown
 * @param {string} source
 * @param {boolean} block
 */
function draw(library, shown, source, block) {
  try {
    library.render(source, shown, { displayMode: block, throwOnError: false, trust: false, maxExpand: 500, maxSize: [20, 40] });
  } catch {
    shown.textContent = source;
  }
}
