/** The kept conversations: opened, searched, renamed, exported, forgotten. */

import { archived } from "../chat/archive.js";
import { mentions } from "../chat/conversation.js";
import { asked, confirmed } from "./dialogs.js";
import { byId, element, iconButton } from "./dom.js";
import { fileName, save } from "./files.js";

const DAY = 86_400_000;

/** Keeps the list beside the conversation in step with what is kept. */
export class ConversationList {
  #session;
  #list = byId("conversations");
  #search = byId("search");

  /** @param {import("../chat/session.js").Session} session @param {() => void} onopen called when one is chosen */
  constructor(session, onopen) {
    this.#session = session;
    this.onopen = onopen;
    session.addEventListener("shelf", () => this.#draw());
    session.addEventListener("conversation", () => this.#draw());
    this.#search.addEventListener("input", () => this.#draw());
    this.#draw();
  }

  #draw() {
    const focused = this.#list.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const words = this.#search.value;
    const found = this.#session.kept.filter((conversation) => !words || mentions(conversation, words));
    this.#list.replaceChildren(...grouped(found, Date.now()).map(([label, group]) => this.#group(label, group)));
    if (!found.length) this.#list.append(element("li", { class: "none" }, words ? "No conversation holds these words." : "Nothing kept yet."));
    if (focused) [...this.#list.querySelectorAll("[data-name]")].find((button) => button.dataset.name === focused)?.focus();
  }

  #group(label, conversations) {
    const items = conversations.map((conversation) => this.#item(conversation));
    return element("li", {}, element("h2", {}, label), element("ul", {}, ...items));
  }

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

  #actions(conversation) {
    const { title } = conversation;
    return [
      iconButton("pencil", `Rename ${title}`, () => this.#rename(conversation), { "data-name": `rename ${conversation.id}` }),
      iconButton("save", `Export ${title}`, () => save(fileName(title, "json"), archived([conversation]), "application/json")),
      iconButton("bin", `Delete ${title}`, () => this.#remove(conversation), { "data-name": `delete ${conversation.id}` }),
    ];
  }

  async #rename({ id, title }) {
    const name = await asked("Rename conversation", "Title", title, "Rename");
    if (name) this.#session.rename(id, name);
  }

  async #remove({ id, title }) {
    if (!(await confirmed("Delete this conversation?", `“${title}” cannot be brought back.`, "Delete"))) return;
    this.#session.remove(id);
    this.#search.focus();
  }
}

/** Returns pairs of label and conversations, in order, none empty. */
function grouped(conversations, now) {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  const ages = [["Today", midnight], ["Yesterday", midnight - DAY], ["This week", midnight - 6 * DAY], ["Earlier", -Infinity]];
  const ageOf = ({ changed }) => ages.find(([, since]) => changed >= since)[0];
  return ages.map(([label]) => [label, conversations.filter((one) => ageOf(one) === label)]).filter(([, group]) => group.length);
}
