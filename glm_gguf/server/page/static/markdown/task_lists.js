/** Task lists, as GitHub writes them: `- [ ] open`, `- [x] done`. */

/**
 * Makes a parser turn the box before an item's text into a token of its own, `task`, whose `meta` says whether it is done.
 * @param {import("./parser.js").Parser} parser
 */
export function addTaskLists(parser) {
  parser.core.ruler.push("tasks", ({ tokens, Token }) => {
    tokens.forEach(({ type, children }, index) => {
      const begins = tokens[index - 1]?.type === "paragraph_open" && tokens[index - 2]?.type === "list_item_open";
      if (type !== "inline" || !begins || !children) return;
      const [text] = children;
      const box = text?.type === "text" && /^\[([ xX])\] /.exec(text.content);
      if (!box) return;
      text.content = text.content.slice(box[0].length);
      children.unshift(Object.assign(new Token("task", "input", 0), { meta: { done: box[1] !== " " } }));
    });
  });
}
