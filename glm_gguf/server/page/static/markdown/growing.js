/** Markdown that grows: blocks that are over stay as they are, only the last one is made anew. */

import { lastBlock, parsed } from "./parser.js";
import { tree } from "./tree.js";

/** Shows a text that is being written. What comes late can change what stands before: at its end it is shown anew. */
export class GrowingMarkdown {
  #target;
  #live = document.createElement("div");
  /** Characters that stand as finished elements. */
  #settled = 0;

  /** @param {Element} target empty */
  constructor(target) {
    this.#target = target;
    this.#live.className = "live";
    target.append(this.#live);
  }

  /** Shows the text so far, which begins with all that was shown before. */
  show(text) {
    const rest = withPlainEnds(text).slice(this.#settled);
    const tokens = parsed(rest);
    const last = lastBlock(tokens);
    if (last > 0) {
      this.#live.before(tree(tokens.slice(0, last), true));
      this.#settled += lineStart(rest, tokens[last].map[0]);
    }
    this.#live.replaceChildren(tree(tokens.slice(last), false));
  }
}

/** Shows a text that is complete. */
export function showMarkdown(target, text) {
  target.replaceChildren(tree(parsed(text), true));
}

/** Lines as markdown-it counts them; looking through a long text for nothing is quick. */
function withPlainEnds(text) {
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}

function lineStart(text, line) {
  let start = 0;
  for (let count = 0; count < line; count++) start = text.indexOf("\n", start) + 1;
  return start;
}
