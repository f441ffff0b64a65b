/** Tables: they scroll by themselves, and lose the rows that a browser could not lay out in time. */

import { element } from "../view/dom.js";

/** @typedef {import("./parser.js").Token} Token */

const MOST_CELLS = 5000;
const ALIGNED = /^text-align:(left|right|center)$/;

/** Returns the element that scrolls a table. */
export function tableFrame() {
  return element("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": "Table" });
}

/**
 * Gives a cell the alignment of its column.
 * @param {HTMLElement} cell
 * @param {Token} token
 */
export function align(cell, token) {
  const [, side] = ALIGNED.exec(String(token.attrGet("style") ?? "")) ?? [];
  if (side) cell.style.textAlign = side;
}

/**
 * Makes a parser drop the last rows of huge tables, before it reads what they contain; a token `left_out` says how many.
 * @param {import("./parser.js").Parser} parser
 */
export function limitTables(parser) {
  parser.core.ruler.before("inline", "limit_tables", (state) => {
    if (state.tokens.length >= MOST_CELLS) state.tokens = limited(state.tokens, state.Token);
  });
}

/** @param {Token[]} tokens @param {new (type: string, tag: string, nesting: 0) => Token} NewToken */
function limited(tokens, NewToken) {
  const kept = [];
  let [cells, dropped, dropping] = [0, 0, false];
  for (const token of tokens) {
    if (token.type === "table_open") [cells, dropped] = [0, 0];
    if (token.type === "tr_open" && cells > MOST_CELLS) [dropping, dropped] = [true, dropped + 1];
    cells += Number(token.type === "td_open");
    if (!dropping) kept.push(token);
    if (token.type === "tr_close") dropping = false;
    if (token.type !== "table_close" || !dropped) continue;
    const content = `${dropped} more rows are not shown. Copy the answer to have them.`;
    kept.push(Object.assign(new NewToken("left_out", "p", 0), { content, level: 1 })); // level 0 would begin a block
  }
  return kept;
}
