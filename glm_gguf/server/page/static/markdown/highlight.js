/** Code in colours: highlight.js finds the scopes, elements are made of them here. */

import hljs from "../vendor/cdn-assets/highlight.min.js";

const LONGEST = 60_000;

/** Returns nodes that show the code; plain text where the language is unknown or the code very long. */
export function highlighted(code, language) {
  if (code.length > LONGEST || !hljs.getLanguage(language)) return [document.createTextNode(code)];
  return nodes(hljs.highlight(code, { language, ignoreIllegals: true })._emitter.rootNode.children);
}

function nodes(children) {
  return children.map((child) => (typeof child === "string" ? document.createTextNode(child) : scoped(child)));
}

function scoped({ scope, children }) {
  const span = document.createElement("span");
  if (scope) span.className = className(scope);
  span.append(...nodes(children));
  return span;
}

/** As highlight.js names them: `title.function` is `hljs-title function_`. */
function className(scope) {
  const [first, ...more] = scope.split(".");
  return [`hljs-${first}`, ...more.map((part, index) => part + "_".repeat(index + 1))].join(" ");
}
