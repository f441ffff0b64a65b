/** Code in colours: highlight.js finds the scopes, and this module makes elements of them. */

import hljs from "../vendor/cdn-assets/highlight.min.js";

const LONGEST = 60_000;
/** Scopes within scopes: a bound on recursion and layout. */
const DEEPEST = 100;

/**
 * @typedef {{scope?: string, children: (string | Scope)[]}} Scope as highlight.js's emitter keeps it
 */

/**
 * Returns nodes that show the code; plain text where the language is unknown or the code very long.
 * @param {string} code
 * @param {string} language in lower case
 */
export function highlighted(code, language) {
  if (code.length > LONGEST || !hljs.getLanguage(language)) return [document.createTextNode(code)];
  const { _emitter: emitter } = hljs.highlight(code, { language, ignoreIllegals: true });
  return nodes(/** @type {{rootNode: Scope}} */ (/** @type {unknown} */ (emitter)).rootNode.children);
}

/**
 * @param {(string | Scope)[]} children
 * @returns {Node[]}
 */
function nodes(children, depth = 0) {
  return children.map((child) => (typeof child === "string" ? document.createTextNode(child) : scoped(child, depth)));
}

/** @param {Scope} scope @param {number} depth */
function scoped({ scope, children }, depth) {
  const span = document.createElement("span");
  if (scope) span.className = className(scope);
  if (depth < DEEPEST) span.append(...nodes(children, depth + 1));
  else span.textContent = plainText(children);
  return span;
}

/**
 * Returns the text of a tree of scopes, however deep it is.
 * @param {(string | Scope)[]} children
 */
function plainText(children) {
  const rest = children.toReversed();
  const parts = [];
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    if (typeof next === "string") parts.push(next);
    else for (const child of next.children.toReversed()) rest.push(child);
  }
  return parts.join("");
}

/**
 * Returns highlight.js's own class names: `title.function` is `hljs-title function_`.
 * @param {string} scope
 */
function className(scope) {
  const [first, ...more] = scope.split(".");
  return [`hljs-${first}`, ...more.map((part, index) => part + "_".repeat(index + 1))].join(" ");
}
