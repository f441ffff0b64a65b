/** Where conversations are kept: IndexedDB, in this browser and nowhere else. All tabs of the page share it. */

import { joined } from "./conversation.js";

const NAME = "glm-gguf";
const STORE = "conversations";

/** The kept conversations. */
export class Shelf {
  #database;
  #others = new BroadcastChannel(NAME);

  /** @param {IDBDatabase} database */
  constructor(database) {
    this.#database = database;
  }

  /** Opens the browser's database; throws where the browser keeps nothing. */
  static async open() {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    await new Promise((resolve, reject) => {
      request.onsuccess = resolve;
      request.onerror = () => reject(request.error);
    });
    return new Shelf(request.result);
  }

  /** Calls `onchange` with the ids of what other tabs have kept or forgotten. */
  watch(onchange) {
    this.#others.onmessage = ({ data }) => onchange(data);
  }

  /** @returns {Promise<unknown[]>} what was kept, whatever wrote it */
  all() {
    return this.#done("readonly", (store) => store.getAll());
  }

  /** @returns {Promise<unknown>} what was kept under an id; undefined for nothing */
  get(id) {
    return this.#done("readonly", (store) => store.get(id));
  }

  /** Keeps conversations in place of older states of them, and tells the other tabs. */
  async put(...conversations) {
    await this.note(...conversations);
    this.#others.postMessage(conversations.map(({ id }) => id));
  }

  /** Keeps states that others will soon follow; no tab is told. What other tabs have said meanwhile stays. */
  note(...conversations) {
    return this.#done("readwrite", (store) => {
      for (const conversation of conversations) {
        const older = store.get(conversation.id);
        older.onsuccess = () => store.put(older.result ? joined(older.result, conversation) : conversation);
      }
    });
  }

  /** Forgets a conversation. */
  async remove(id) {
    await this.#done("readwrite", (store) => store.delete(id));
    this.#others.postMessage([id]);
  }

  /** Resolves when the whole transaction is over: full storage ends it behind requests that succeeded. */
  #done(mode, deed) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(STORE, mode);
      const request = deed(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request?.result);
      transaction.onabort = () => reject(transaction.error);
    });
  }
}
