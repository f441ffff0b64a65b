/** The open conversation's name in the page's address: a reload, a bookmark, Back and Forward come to it again. */

/**
 * Keeps both in step, from when the kept conversations have been read.
 * @param {import("../chat/session.js").Session} session
 * @param {() => void} onmove called when the address has led to another conversation
 * @param {() => void} onlost called when it names one that is not kept here
 */
export function startAddress(session, onmove, onlost) {
  let shown = session.conversation.id;
  const named = () => location.hash.slice(1);

  /** One that is kept only now, and one in place of another that is no more, take over the entry in the browser's history. */
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

  session.addEventListener("read", () => {
    session.addEventListener("conversation", write);
    addEventListener("hashchange", () => {
      read();
      onmove();
    });
    if (session.conversation.messages.length) write();
    else read();
  });
}
