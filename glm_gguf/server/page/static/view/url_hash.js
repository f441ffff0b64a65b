/** The open conversation's id in the URL's hash: a reload, a bookmark, Back and Forward open it again. */

/**
 * Keeps both in step, once the kept conversations have been read.
 * @param {import("../chat/session.js").Session} session
 * @param {() => void} onmove called when the hash has changed
 * @param {() => void} onlost called when it names a conversation that is not kept here
 */
export function startUrlHash(session, onmove, onlost) {
  let shown = session.conversation.id;
  const named = () => location.hash.slice(1);

  /** Replaces the entry in the browser's history where the conversation is kept only now, or the one before was deleted; else adds one. */
  function write() {
    const { id } = session.conversation;
    const name = session.keeps(id) ? id : "";
    const replaces = id === shown || (named() && !session.keeps(named()));
    shown = id;
    if (name === named()) return;
    history[replaces ? "replaceState" : "pushState"](null, "", name ? `#${name}` : location.pathname + location.search);
  }

  function read() {
    const name = named();
    if (session.keeps(name)) return session.open(name);
    if (session.keeps(session.conversation.id)) session.begin();
    write();
    return name && onlost();
  }

  session.on("loaded", () => {
    session.on("conversation", write);
    addEventListener("hashchange", () => {
      read();
      onmove();
    });
    if (session.conversation.messages.length) write();
    else read();
  });
}
