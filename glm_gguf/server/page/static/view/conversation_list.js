/** The list of kept conversations: it opens, searches, renames, exports and deletes them. */

import { exportText } from "../chat/export.js";
import { mentions } from "../chat/conversation_search.js";
import { confirm, prompt } from "./dialogs.js";
import { byId, element, iconButton } from "./dom.js";
import { fileName, save } from "./files.js";

/** @typedef {import("../chat/conversation.js").Conversation} Conversation */

const DAY = 86_400_000;

/** Shows the list beside the conversation. */
export class ConversationList {
  #session;
  #list = byId("conversations");
  #search = byId("search", HTMLInputElement);

  /** @param {import("../chat/session.js").Session} session @param {() => void} onopen called when one is chosen */
  constructor(session, onopen) {
    this.#session = session;
    this.onopen = onopen;
    session.on("list", () => this.#draw());
    session.on("conversation", () => this.#draw());
    this.#search.addEventListener("input", () => this.#draw());
    this.#draw();
  }

  #draw() {
    const active = document.activeElement;
    const focused = active instanceof HTMLElement && this.#list.contains(active) ? active.dataset.name : null;
    const words = this.#search.value;
    const found = this.#session.kept.filter((conversation) => !words || mentions(conversation, words));
    this.#list.replaceChildren(...grouped(found, Date.now()).map(([label, group]) => this.#group(label, group)));
    if (!found.length) this.#list.append(element("li", { class: "none" }, words ? "No conversation contains these words." : "No conversations yet."));
    if (focused) [...this.#list.querySelectorAll("button")].find((button) => button.dataset.name === focused)?.focus();
  }

  /** @param {string} label @param {Conversation[]} conversations */
  #group(label, conversations) {
    const items = conversations.map((conversation) => this.#item(conversation));
    return element("li", {}, element("h2", {}, label), element("ul", {}, ...items));
  }

  /** @param {Conversation} conversation */
  #item(conversation) {
    const current = conversation.id === this.#session.conversation.id;
    const open = element("button", { class: "open", dir: "auto", title: conversation.title, "data-name": `open ${conversation.id}`, "aria-current": current ? "page" : null }, conversation.title);
    open.addEventListener("click", () => {
      this.#session.open(conversation.id);
      this.onopen();
    });
    const actions = element("div", { class: "actions" }, ...this.#actions(conversation));
    return element("li", { class: current ? "conversation current" : "conversation" }, open, actions);
  }

  /** @param {Conversation} conversation */
  #actions(conversation) {
    const { title } = conversation;
    return [
      iconButton("pencil", `Rename ${title}`, () => this.#rename(conversation), { "data-name": `rename ${conversation.id}` }),
      iconButton("save", `Export ${title}`, () => save(fileName(title, "json"), exportText([conversation]), "application/json")),
      iconButton("bin", `Delete ${title}`, () => this.#remove(conversation), { "data-name": `delete ${conversation.id}` }),
    ];
  }

  /** @param {Conversation} conversation */
  async #rename({ id, title }) {
    const name = await prompt("Rename conversation", "Title", title, "Rename");
    if (name) this.#session.rename(id, name);
  }

  /** @param {Conversation} conversation */
  async #remove({ id, title }) {
    if (!(await confirm("Delete this conversation?", `“${title}” cannot be brought back.`, "Delete"))) return;
    this.#session.remove(id);
    this.#search.focus();
  }
}

/**
 * Returns pairs of label and conversations, in order, none empty.
 * @param {Conversation[]} conversations
 * @param {number} now
 * @returns {[string, Conversation[]][]}
 */
function grouped(conversations, now) {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  /** @type {[string, number][]} label, and the earliest change in it */
  const ages = [["Today", midnight], ["Yesterday", midnight - DAY], ["This week", midnight - 6 * DAY], ["Earlier", -Infinity]];
  /** @type {[string, Conversation[]][]} */
  const groups = ages.map(([label], index) => [label, conversations.filter(({ changed }) => ages.findIndex(([, since]) => changed >= since) === index)]);
  return groups.filter(([, group]) => group.length);
}
