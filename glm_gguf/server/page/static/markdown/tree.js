/** Markdown's tokens as elements, one by one: no text of a model is ever parsed as HTML. */

import { element } from "../view/dom.js";
import { codeBlock } from "./code_block.js";
import { followable, isInlineImage } from "./links.js";
import { formula } from "./math.js";
import { align, tableFrame, withoutHugeTables } from "./table.js";

const PLAIN = new Set(["p", "blockquote", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "em", "strong", "s"]);
/** Blocks whose first letter says whether they run from the right, with all that is in them. */
const DIRECTED = new Set(["p", "blockquote", "ul", "ol", "table", "h3", "h4", "h5", "h6"]);
/** The page has its own first two levels. */
const HEADINGS = { h1: "h3", h2: "h4", h3: "h5", h4: "h6", h5: "h6", h6: "h6" };

/** What stands for itself: token type → node. */
const LEAVES = {
  text: (token) => document.createTextNode(token.content),
  text_special: (token) => document.createTextNode(token.content),
  softbreak: () => document.createTextNode("\n"),
  hardbreak: () => element("br"),
  hr: () => element("hr"),
  code_inline: (token) => element("code", {}, token.content),
  code_block: (token, finished) => codeBlock(token.content, "", finished),
  fence: (token, finished) => codeBlock(token.content, token.info.trim().split(/\s+/, 1)[0], finished),
  image: (token) => picture(token.attrGet("src") ?? "", token.content),
  math_inline: (token) => formula(token.content, false),
  math_block: (token) => formula(token.content, true),
  task: ({ meta: done }) => element("input", { type: "checkbox", class: "task", disabled: true, checked: done, "aria-label": done ? "Done" : "Not done" }),
  left_out: (token) => element("p", { class: "left-out" }, token.content),
};

/**
 * Returns a fragment with the elements.
 * @param {object[]} tokens markdown-it's
 * @param {boolean} finished false where the last block may still grow
 */
export function tree(tokens, finished) {
  const root = document.createDocumentFragment();
  const stack = [root];
  for (const token of withoutHugeTables(tokens)) {
    if (token.nesting < 0) stack.pop();
    else if (token.nesting > 0) stack.push(opened(token, stack.at(-1)));
    else stack.at(-1).append(leaf(token, finished));
  }
  return root;
}

/** Appends the element of an opening token, and returns what goes on inside. */
function opened(token, parent) {
  if (token.hidden) return parent;
  const made = container(token);
  if (token.tag !== "table") return appended(parent, made);
  return appended(appended(parent, tableFrame()), made);
}

function container(token) {
  if (token.tag === "a") return link(token.attrGet("href") ?? "");
  const made = element(HEADINGS[token.tag] ?? (PLAIN.has(token.tag) ? token.tag : "div"));
  if (token.level === 0 && DIRECTED.has(made.localName)) made.dir = "auto";
  if (token.tag === "ol" && token.attrGet("start") !== null) made.start = Number(token.attrGet("start"));
  if (token.tag === "td" || token.tag === "th") align(made, token);
  return made;
}

function leaf(token, finished) {
  if (token.type === "inline") return tree(token.children, finished);
  const make = LEAVES[token.type];
  return make ? make(token, finished) : document.createTextNode(token.content);
}

/** A link shows where it leads; an address that one should not follow stays text. */
function link(address) {
  const href = followable(address);
  if (href === null) return element("span", { class: "dead-link", title: address });
  return element("a", { href, title: href, target: "_blank", rel: "noopener noreferrer nofollow" });
}

/** Loading an image from elsewhere could carry the conversation to its host: it becomes a link. */
function picture(address, alternative) {
  if (isInlineImage(address)) return element("img", { src: address, alt: alternative });
  const shown = link(address);
  shown.classList.add("remote-image");
  shown.append(`Image not loaded${alternative ? `: ${alternative}` : ""}`);
  return shown;
}

function appended(parent, child) {
  parent.append(child);
  return child;
}
