/** TeX in Markdown: `$…$` and `\(…\)` in a line, `$$…$$` and `\[…\]` as blocks. */

const INLINE = [["$", "$"], ["\\(", "\\)"]];
const BLOCKS = [["$$", "$$"], ["\\[", "\\]"]];

/**
 * @typedef {import("../vendor/markdown-it/markdown-it.esm.min.mjs").StateInline} StateInline
 * @typedef {import("../vendor/markdown-it/markdown-it.esm.min.mjs").StateBlock} StateBlock
 */

/**
 * Teaches a markdown-it parser the tokens `math_inline` and `math_block`.
 * @param {import("./parser.js").Parser} parser
 */
export function addMath(parser) {
  parser.inline.ruler.before("escape", "math_inline", inlineRule);
  parser.block.ruler.before("fence", "math_block", blockRule, { alt: ["paragraph", "reference", "blockquote", "list"] });
}

/** @param {StateInline} state @param {boolean} silent */
function inlineRule(state, silent) {
  for (const [open, close] of [...BLOCKS, ...INLINE]) {
    if (!state.src.startsWith(open, state.pos)) continue;
    const start = state.pos + open.length;
    const end = state.src.indexOf(close, start);
    if (end < 0 || end === start || (open === "$" && !isDollarMath(state.src, start, end))) continue;
    if (!silent) state.push("math_inline", "math", 0).content = state.src.slice(start, end);
    state.pos = end + close.length;
    return true;
  }
  return false;
}

/**
 * Says whether dollars enclose a formula. Pandoc's rule: no space inside them, no digit after them; so prices stay prices.
 * @param {string} source
 * @param {number} start
 * @param {number} end
 */
function isDollarMath(source, start, end) {
  const content = source.slice(start, end);
  return content.trim() === content && !content.includes("\n") && !/\d/.test(source[end + 1] ?? "");
}

/** @param {StateBlock} state @param {number} startLine @param {number} endLine @param {boolean} silent */
function blockRule(state, startLine, endLine, silent) {
  const line = lineAt(state, startLine);
  const [open, close] = BLOCKS.find(([mark]) => line.startsWith(mark)) ?? ["", ""];
  if (!open || state.sCount[startLine] - state.blkIndent >= 4) return false;
  const found = [line.slice(open.length)];
  let next = startLine + 1;
  while (!found[found.length - 1].trimEnd().endsWith(close) && next < endLine) found.push(lineAt(state, next++));
  const content = found.join("\n").trimEnd();
  if (!content.endsWith(close) || content.slice(0, -close.length).includes(close)) return false;
  if (silent) return true;
  const token = state.push("math_block", "math", 0);
  token.content = content.slice(0, -close.length).trim();
  token.map = [startLine, next];
  state.line = next;
  return true;
}

/** @param {StateBlock} state @param {number} line */
function lineAt(state, line) {
  return state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
}
