/** Lists of tasks, as GitHub writes them: `- [ ] open`, `- [x] done`. */

/** Has a parser turn the box before an item's text into a token of its own, `task`, whose `meta` says whether it is done. */
export function addTasks(parser) {
  parser.core.ruler.push("tasks", ({ tokens, Token }) => {
    tokens.forEach((token, index) => {
      const begins = tokens[index - 1]?.type === "paragraph_open" && tokens[index - 2]?.type === "list_item_open";
      const text = token.type === "inline" && begins ? token.children[0] : null;
      const box = text?.type === "text" && /^\[([ xX])\] /.exec(text.content);
      if (!box) return;
      text.content = text.content.slice(box[0].length);
      token.children.unshift(Object.assign(new Token("task", "input", 0), { meta: box[1] !== " " }));
    });
  });
}
