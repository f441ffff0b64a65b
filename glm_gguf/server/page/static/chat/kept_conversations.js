/** The kept conversations: in memory, and from there in the browser's storage. */

import { Problem } from "../wire/problem.js";
import { InvalidError, isRecord, require } from "./sound.js";
import { validConversation } from "./validation.js";

/**
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./storage.js").ConversationStorage} ConversationStorage
 *
 * @typedef {object} Listeners
 * @property {() => void} onlist called when the list has changed
 * @property {() => void} onread called once, when the stored conversations have been read
 * @property {(problem: Problem) => void} onproblem called when something could not be stored or read
 * @property {(id: string, theirs: Conversation | null) => void} onother called when another tab has stored a conversation, whose state the listener may hand to `hold`, or, then null, deleted it
 */

/** What is kept; where the browser stores nothing, it lasts as long as the page. */
export class Conversations {
  /** @type {Map<string, Conversation>} */
  #kept = new Map();
  #storage;
  #listeners;

  /**
   * @param {ConversationStorage | null} storage null where the browser stores nothing
   * @param {Listeners} listeners
   */
  constructor(storage, listeners) {
    this.#storage = storage;
    this.#listeners = listeners;
  }

  /** Reads the stored conversations, and from then on those that other tabs store. */
  load() {
    if (!this.#storage) this.#listeners.onread();
    this.#storage?.watch((ids) => this.#stored((storage) => this.#readAgain(storage, ids), unread()));
    this.#stored(async (storage) => {
      const records = await storage.all();
      const valid = records.map(restored).filter((conversation) => conversation !== null);
      this.hold(...valid);
      this.#listeners.onlist();
      this.#listeners.onread();
      if (valid.length < records.length) this.#listeners.onproblem(damaged(records.length - valid.length));
    }, unread());
  }

  /** All of them, the one changed last first. */
  get all() {
    return [...this.#kept.values()].sort((a, b) => b.changed - a.changed);
  }

  /** @param {string} id */
  get(id) {
    return this.#kept.get(id);
  }

  /**
   * Keeps conversations, in place of older states of them.
   * @param {...Conversation} conversations
   */
  keep(...conversations) {
    this.hold(...conversations);
    this.#stored((storage) => storage.put(...conversations));
    this.#listeners.onlist();
  }

  /**
   * Keeps conversations in memory that are stored already.
   * @param {...Conversation} conversations
   */
  hold(...conversations) {
    conversations.forEach((conversation) => this.#kept.set(conversation.id, conversation));
  }

  /**
   * Stores a state that another will soon follow.
   * @param {Conversation} conversation
   */
  storeQuietly(conversation) {
    this.#stored((storage) => storage.putQuietly(conversation));
  }

  /**
   * Deletes a conversation, from memory and from the storage.
   * @param {string} id
   */
  remove(id) {
    this.#kept.delete(id);
    this.#stored((storage) => storage.remove(id));
    this.#listeners.onlist();
  }

  /** @param {ConversationStorage} storage @param {string[]} ids */
  async #readAgain(storage, ids) {
    for (const id of ids) {
      const record = await storage.get(id);
      const theirs = record ? restored(record) : null;
      if (!record) this.#kept.delete(id);
      if (theirs || !record) this.#listeners.onother(id, theirs);
    }
    this.#listeners.onlist();
  }

  /** @param {(storage: ConversationStorage) => Promise<unknown>} act @param {Problem} otherwise */
  async #stored(act, otherwise = notStored()) {
    try {
      if (this.#storage) await act(this.#storage);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.#listeners.onproblem(otherwise);
    }
  }
}

/**
 * Returns a stored record as a conversation, or null where it is damaged.
 * @param {unknown} record
 * @returns {Conversation | null}
 */
function restored(record) {
  try {
    require(isRecord(record) && typeof record.id === "string", "It has no id.");
    return { ...validConversation(record, "It", Date.now()), id: record.id };
  } catch (error) {
    if (!(error instanceof InvalidError)) throw error;
    return null;
  }
}

function notStored() {
  return new Problem("The browser could not keep this conversation.", "Its storage may be full. Export what matters.");
}

function unread() {
  return new Problem("The browser could not read what it keeps for this page.", "Load the page again.");
}

/** @param {number} count */
function damaged(count) {
  const what = count === 1 ? "One kept conversation is damaged" : `${count} kept conversations are damaged`;
  return new Problem(`${what}.`, "The list leaves out what cannot be shown; nothing was deleted.");
}
