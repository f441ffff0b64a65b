/** Code in colours: highlight.js finds the scopes, elements are made of them here. */

import hljs from "../vendor/cdn-assets/highlight.min.js";

const LONGEST = 60_000;
/** Scopes within scopes: recursion and layout end somewhere. */
const DEEPEST = 100;

/** Returns nodes that show the code; plain text where the language is unknown or the code very long. */
export function highlighted(code, language) {
  if (code.length > LONGEST || !hljs.getLanguage(language)) return [document.createTextNode(code)];
  return nodes(hljs.highlight(code, { language, ignoreIllegals: true })._emitter.rootNode.children);
}

function nodes(children, depth = 0) {
  return children.map((child) => (typeof child === "string" ? document.createTextNode(child) : scoped(child, depth)));
}

function scoped({ scope, children }, depth) {
  const span = document.createElement("span");
  if (scope) span.className = className(scope);
  if (depth < DEEPEST) span.append(...nodes(children, depth + 1));
  else span.textContent = plainText(children);
  return span;
}

/** Returns the text of a tree of scopes, however deep it is. */
function plainText(children) {
  const [rest, parts] = [[...children].reverse(), []];
  while (rest.length) {
    const next = rest.pop();
    if (typeof next === "string") parts.push(next);
    else for (const child of next.children.toReversed()) rest.push(child);
  }
  return parts.join("");
}

/** As highlight.js names them: `title.function` is `hljs-title function_`. */
function className(scope) {
  const [first, ...more] = scope.split(".");
  return [`hljs-${first}`, ...more.map((part, index) => part + "_".repeat(index + 1))].join(" ");
}
