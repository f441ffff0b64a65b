/** TeX as MathML, which browsers draw themselves; the library is loaded when the first formula is there. */

let temml = null;

/** Returns an element that shows a formula: its source first, drawn once the library is there. */
export function formula(source, block) {
  const shown = document.createElement(block ? "div" : "span");
  shown.className = "formula";
  shown.textContent = source;
  if (temml) draw(shown, source, block);
  else loaded().then(() => draw(shown, source, block));
  return shown;
}

async function loaded() {
  temml ??= (await import("../vendor/temml/temml.mjs")).default;
}

/** `trust` stays off: no command of a formula may make a link or an image. */
function draw(shown, source, block) {
  temml.render(source, shown, { displayMode: block, throwOnError: false, trust: false, maxExpand: 500, maxSize: [20, 40] });
}
