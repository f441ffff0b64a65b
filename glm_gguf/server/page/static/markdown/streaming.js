/** Markdown that is being written: finished blocks stay as they are, only the last one is rendered anew. */

import { lastBlock, parsed } from "./parser.js";
import { render } from "./renderer.js";

/** Shows a text that is being written. Late text can change early blocks, such as link targets: the finished text is rendered anew. */
export class StreamingMarkdown {
  #live = document.createElement("div");
  /** Characters that stand as finished elements. */
  #settled = 0;

  /** @param {Element} target empty */
  constructor(target) {
    this.#live.className = "live";
    target.append(this.#live);
  }

  /**
   * Shows the text so far.
   * @param {string} text begins with all that was shown before
   */
  show(text) {
    const rest = withPlainEnds(text).slice(this.#settled);
    const tokens = parsed(rest);
    const last = lastBlock(tokens);
    const [line] = tokens[last]?.map ?? [0];
    if (last > 0) {
      this.#live.before(render(tokens.slice(0, last), true));
      this.#settled += lineStart(rest, line);
    }
    this.#live.replaceChildren(render(tokens.slice(last), false));
  }
}

/**
 * Shows a text that is complete.
 * @param {Element} target
 * @param {string} text
 */
export function showMarkdown(target, text) {
  target.replaceChildren(render(parsed(text), true));
}

/**
 * Returns the text with the line ends that markdown-it counts; to search a long text without `\r` is quick.
 * @param {string} text
 */
function withPlainEnds(text) {
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}

/** @param {string} text @param {number} line */
function lineStart(text, line) {
  let start = 0;
  for (let count = 0; count < line; count++) start = text.indexOf("\n", start) + 1;
  return start;
}
