/** A block of code with its language, a copy button, and a button that shows it as an artifact. */

import { copyButton } from "../view/clipboard.js";
import { element, icon } from "../view/dom.js";
import { highlighted } from "./highlight.js";

/** Characters up to which unfinished code is coloured: that happens anew with every frame. */
const LONGEST_UNFINISHED = 6000;

/**
 * Returns the block.
 * @param {string} code
 * @param {string} language as the fence names it
 * @param {boolean} finished false while the code may still grow
 */
export function codeBlock(code, language, finished) {
  const shown = element("code", language ? { class: `language-${language.replace(/\W/g, "-")}` } : {});
  const coloured = finished || code.length <= LONGEST_UNFINISHED;
  shown.append(...(coloured ? highlighted(code, language.toLowerCase()) : [code]));
  const kind = finished ? artifactKind(code, language.toLowerCase()) : null;
  const caption = element("figcaption", {}, element("span", {}, language || "text"), kind && showButton(code, kind), copyButton("Copy code", () => code));
  const label = language ? `Code in ${language}` : "Code";
  return element("figure", { class: "code-block", dir: "ltr" }, caption, element("pre", { tabindex: 0, role: "region", "aria-label": label }, shown));
}

/** @typedef {"html" | "svg"} ArtifactKind */

/**
 * Returns the kind of artifact that a browser can show the code as, or null.
 * @param {string} code
 * @param {string} language in lower case
 * @returns {ArtifactKind | null}
 */
export function artifactKind(code, language) {
  if (["svg", "xml", ""].includes(language) && /^\s*(<\?xml[^>]*>\s*)?<svg[\s>]/i.test(code)) return "svg";
  if (["html", "htm", "xhtml"].includes(language)) return "html";
  return language === "" && /^\s*<(!doctype html|html)[\s>]/i.test(code) ? "html" : null;
}

/**
 * Returns a button that dispatches an `artifact` event, which bubbles up to the document.
 * @param {string} code
 * @param {ArtifactKind} kind
 */
function showButton(code, kind) {
  const label = kind === "svg" ? "Show image" : "Show page";
  const button = element("button", { class: "text-button show", type: "button" }, icon("frame"), label);
  button.addEventListener("click", () => button.dispatchEvent(new CustomEvent("artifact", { bubbles: true, detail: { code, kind } })));
  return button;
}
