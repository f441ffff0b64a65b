/** Renders Markdown's tokens as elements, one by one: no text of a model is ever parsed as HTML. */

import { element } from "../view/dom.js";
import { codeBlock } from "./code_block.js";
import { followable, isInlineImage } from "./links.js";
import { formula } from "./math.js";
import { align, tableFrame } from "./table.js";

/** @typedef {import("./parser.js").Token} Token */

/**
 * Markdown's tag → ours; other tags become `div`. The page has its own first two levels of headings.
 * @type {Map<string, import("../view/dom.js").Tag>}
 */
const TAGS = new Map([
  ["h1", "h3"], ["h2", "h4"], ["h3", "h5"], ["h4", "h6"], ["h5", "h6"], ["h6", "h6"],
  ["p", "p"], ["blockquote", "blockquote"], ["ul", "ul"], ["ol", "ol"], ["li", "li"], ["em", "em"], ["strong", "strong"], ["s", "s"],
  ["table", "table"], ["thead", "thead"], ["tbody", "tbody"], ["tr", "tr"], ["th", "th"], ["td", "td"],
]);
/** Blocks whose first letter says whether they, and all in them, run from right to left. */
const DIRECTED = new Set(["p", "blockquote", "ul", "ol", "table", "h3", "h4", "h5", "h6"]);

/**
 * Tokens without children: type → node.
 * @type {Record<string, (token: Token, finished: boolean) => Node>}
 */
const LEAVES = {
  text: (token) => document.createTextNode(token.content),
  text_special: (token) => document.createTextNode(token.content),
  softbreak: () => document.createTextNode("\n"),
  hardbreak: () => element("br"),
  hr: () => element("hr"),
  code_inline: (token) => element("code", {}, token.content),
  code_block: (token, finished) => codeBlock(token.content, "", finished),
  fence: (token, finished) => codeBlock(token.content, token.info.trim().split(/\s+/, 1)[0], finished),
  image: (token) => image(attribute(token, "src"), token.content),
  math_inline: (token) => formula(token.content, false),
  math_block: (token) => formula(token.content, true),
  task: ({ meta }) => element("input", { type: "checkbox", class: "task", disabled: true, checked: Boolean(meta?.done), "aria-label": meta?.done ? "Done" : "Not done" }),
  left_out: (token) => element("p", { class: "left-out" }, token.content),
};

/**
 * Returns a fragment with the elements.
 * @param {Token[]} tokens
 * @param {boolean} finished false where the last block may still grow
 */
export function render(tokens, finished) {
  const root = document.createDocumentFragment();
  /** @type {(DocumentFragment | HTMLElement)[]} */
  const stack = [root];
  for (const token of tokens) {
    const parent = stack.at(-1) ?? root;
    if (token.nesting < 0) stack.pop();
    else if (token.nesting > 0) stack.push(opened(token, parent));
    else parent.append(leaf(token, finished));
  }
  return root;
}

/**
 * Appends the element of an opening token, and returns the element that takes the tokens inside.
 * @param {Token} token
 * @param {DocumentFragment | HTMLElement} parent
 */
function opened(token, parent) {
  if (token.hidden) return parent;
  const made = container(token);
  const frame = token.tag === "table" ? tableFrame() : null;
  if (frame) frame.append(made);
  parent.append(frame ?? made);
  return made;
}

/** @param {Token} token */
function container(token) {
  if (token.tag === "a") return link(attribute(token, "href"));
  const made = element(TAGS.get(token.tag) ?? "div");
  if (token.level === 0 && DIRECTED.has(made.localName)) made.dir = "auto";
  if (made instanceof HTMLOListElement && token.attrGet("start") !== null) made.start = Number(token.attrGet("start"));
  if (token.tag === "td" || token.tag === "th") align(made, token);
  return made;
}

/** @param {Token} token @param {boolean} finished */
function leaf(token, finished) {
  if (token.type === "inline") return render(token.children ?? [], finished);
  const make = LEAVES[token.type];
  return make ? make(token, finished) : document.createTextNode(token.content);
}

/**
 * Returns a link that shows its address; an address that no one should follow stays text.
 * @param {string} address
 */
function link(address) {
  const href = followable(address);
  if (href === null) return element("span", { class: "dead-link", title: address });
  return element("a", { href, title: href, target: "_blank", rel: "noopener noreferrer nofollow" });
}

/**
 * Returns an image, or a link where it lies elsewhere: to load it could carry the conversation to its host.
 * @param {string} address
 * @param {string} alternative text
 */
function image(address, alternative) {
  if (isInlineImage(address)) return element("img", { src: address, alt: alternative });
  const shown = link(address);
  shown.classList.add("remote-image");
  shown.append(`Image not loaded${alternative ? `: ${alternative}` : ""}`);
  return shown;
}

/** @param {Token} token @param {string} name */
const attribute = (token, name) => String(token.attrGet(name) ?? "");
