/** Stores conversations in the browser's IndexedDB, and nowhere else. All tabs of the page share it. */

import { merged } from "./conversation.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */

const NAME = "glm-gguf";
const STORE = "conversations";

/** The stored conversations. */
export class ConversationStorage {
  #database;
  #otherTabs = new BroadcastChannel(NAME);

  /** @param {IDBDatabase} database */
  constructor(database) {
    this.#database = database;
  }

  /** Opens the browser's database; throws where the browser stores nothing. */
  static async open() {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    await new Promise((resolve, reject) => {
      request.onsuccess = resolve;
      request.onerror = () => reject(request.error);
    });
    return new ConversationStorage(request.result);
  }

  /**
   * Calls `onchange` with the ids of the conversations that another tab has stored or deleted.
   * @param {(ids: string[]) => void} onchange
   */
  watch(onchange) {
    this.#otherTabs.onmessage = ({ data }) => onchange(data);
  }

  /** @returns {Promise<unknown[]>} all records, whatever wrote them */
  async all() {
    return (await this.#finished("readonly", (store) => store.getAll())) ?? [];
  }

  /**
   * @param {string} id
   * @returns {Promise<unknown>} the record with an id; undefined for none
   */
  get(id) {
    return this.#finished("readonly", (store) => store.get(id));
  }

  /**
   * Stores conversations in place of older states of them, and tells the other tabs.
   * @param {...Conversation} conversations
   */
  async put(...conversations) {
    await this.putQuietly(...conversations);
    this.#otherTabs.postMessage(conversations.map(({ id }) => id));
  }

  /**
   * Stores states that others will soon follow; it tells no tab. Messages that other tabs have added meanwhile stay.
   * @param {...Conversation} conversations
   */
  putQuietly(...conversations) {
    return this.#finished("readwrite", (store) => {
      for (const conversation of conversations) {
        const older = store.get(conversation.id);
        older.onsuccess = () => store.put(older.result ? merged(older.result, conversation) : conversation);
      }
    });
  }

  /**
   * Deletes a conversation, and tells the other tabs.
   * @param {string} id
   */
  async remove(id) {
    await this.#finished("readwrite", (store) => store.delete(id));
    this.#otherTabs.postMessage([id]);
  }

  /**
   * Resolves when the whole transaction is over: full storage aborts it after requests that succeeded.
   * @template T
   * @param {IDBTransactionMode} mode
   * @param {(store: IDBObjectStore) => IDBRequest<T> | void} act
   * @returns {Promise<T | undefined>}
   */
  #finished(mode, act) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(STORE, mode);
      const request = act(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request?.result);
      transaction.onabort = () => reject(transaction.error);
    });
  }
}
