/** The kept conversations, here in memory and behind that on the shelf. */

import { Problem } from "../wire/problem.js";
import { restored } from "./archive.js";

/** What is kept; where the browser keeps nothing, it lasts as long as the page. */
export class Library {
  /** @type {Map<string, import("./conversation.js").Conversation>} */
  #kept = new Map();
  #shelf;
  #tell;

  /**
   * @param {import("./shelf.js").Shelf | null} shelf null where the browser keeps nothing
   * @param {(type: "shelf" | "read" | "problem", detail?: Problem) => void} tell called when the list has changed, when it has been read, and when something could not be kept or read
   */
  constructor(shelf, tell) {
    this.#shelf = shelf;
    this.#tell = tell;
  }

  /**
   * Reads what was kept, and from then on what other tabs keep.
   * @param {(id: string, theirs: import("./conversation.js").Conversation | null) => void} follow called with every conversation that another tab has kept or, then null, forgotten: what is to be held of it is handed to `take` or `drop`
   */
  async load(follow) {
    if (!this.#shelf) return this.#tell("read");
    this.#shelf.watch((ids) => this.#shelve((shelf) => this.#readAgain(shelf, ids, follow), unread()));
    return this.#shelve(async (shelf) => {
      const records = await shelf.all();
      const sound = records.map((record) => restored(record, Date.now())).filter(Boolean);
      this.take(...sound);
      this.#tell("shelf");
      this.#tell("read");
      if (sound.length < records.length) this.#tell("problem", damaged(records.length - sound.length));
    }, unread());
  }

  /** All of them, the one changed last first. */
  get all() {
    return [...this.#kept.values()].sort((a, b) => b.changed - a.changed);
  }

  /** @returns {import("./conversation.js").Conversation | undefined} */
  get(id) {
    return this.#kept.get(id);
  }

  /** Keeps conversations, in place of older states of them. */
  keep(...conversations) {
    this.take(...conversations);
    this.#shelve((shelf) => shelf.put(...conversations));
    this.#tell("shelf");
  }

  /** Holds conversations as they lie on the shelf already. */
  take(...conversations) {
    conversations.forEach((conversation) => this.#kept.set(conversation.id, conversation));
  }

  /** Puts a state on the shelf that another will soon follow. */
  note(conversation) {
    this.#shelve((shelf) => shelf.note(conversation));
  }

  /** Forgets a conversation, here and on the shelf. */
  remove(id) {
    this.drop(id);
    this.#shelve((shelf) => shelf.remove(id));
    this.#tell("shelf");
  }

  /** Forgets a conversation that the shelf does not hold any more. */
  drop(id) {
    this.#kept.delete(id);
  }

  async #readAgain(shelf, ids, follow) {
    for (const id of ids) {
      const record = await shelf.get(id);
      const theirs = record ? restored(record, Date.now()) : null;
      if (theirs || !record) follow(id, theirs);
    }
    this.#tell("shelf");
  }

  async #shelve(deed, otherwise = unkept()) {
    try {
      if (this.#shelf) await deed(this.#shelf);
    } catch {
      this.#tell("problem", otherwise);
    }
  }
}

function unkept() {
  return new Problem("The browser could not keep this conversation.", "Its storage may be full. Export what matters.");
}

function unread() {
  return new Problem("The browser could not read what it keeps for this page.", "Load the page again.");
}

function damaged(count) {
  const what = count === 1 ? "One kept conversation is damaged" : `${count} kept conversations are damaged`;
  return new Problem(`${what}.`, "The list leaves out what cannot be shown; nothing was deleted.");
}
