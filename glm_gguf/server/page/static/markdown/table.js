/** Tables: scrolled by themselves, and cut where a browser would suffocate. */

import { element } from "../view/dom.js";

const MOST_CELLS = 5000;
const ALIGNED = /^text-align:(left|right|center)$/;

/** Returns the element for a table's opening token; the table goes inside. */
export function tableFrame() {
  return element("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": "Table" });
}

/** Gives a cell the alignment that its column asks for. */
export function align(cell, token) {
  const [, side] = ALIGNED.exec(token.attrGet("style") ?? "") ?? [];
  if (side) cell.style.textAlign = side;
}

/** Returns tokens without the rows of huge tables, and with a note in place of them. */
export function withoutHugeTables(tokens) {
  if (tokens.length < MOST_CELLS) return tokens;
  const kept = [];
  let [cells, dropped, dropping] = [0, 0, false];
  for (const token of tokens) {
    if (token.type === "table_open") [cells, dropped] = [0, 0];
    if (token.type === "tr_open" && cells > MOST_CELLS) [dropping, dropped] = [true, dropped + 1];
    cells += Number(token.type === "td_open");
    if (!dropping) kept.push(token);
    if (token.type === "tr_close") dropping = false;
    if (token.type === "table_close" && dropped) kept.push({ type: "left_out", nesting: 0, content: `${dropped} more rows are not shown. Copy the answer to have them.` });
  }
  return kept;
}
