/** Markdown as tokens. HTML in it stays text. */

import MarkdownIt from "../vendor/markdown-it/markdown-it.esm.min.mjs";
import { addMath } from "./math_syntax.js";
import { limitTables } from "./table.js";
import { addTaskLists } from "./task_lists.js";

const parser = new MarkdownIt({ html: false, linkify: true, breaks: false, maxNesting: 40 });
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
limitTables(parser);
addMath(parser);
addTaskLists(parser);

/**
 * @typedef {typeof parser} Parser
 * @typedef {import("../vendor/markdown-it/markdown-it.esm.min.mjs").Token} Token
 */

/**
 * Returns markdown-it's tokens.
 * @param {string} text
 */
export function parsed(text) {
  return parser.parse(text, {});
}

/**
 * Returns the index of the token that opens the last top-level block; 0 where there is none.
 * @param {Token[]} tokens
 */
export function lastBlock(tokens) {
  return Math.max(0, tokens.findLastIndex((token) => token.level === 0 && token.nesting >= 0));
}
