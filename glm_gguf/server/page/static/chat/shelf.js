/** Where conversations are kept: IndexedDB, in this browser and nowhere else. */

const DATABASE = "glm-gguf";
const STORE = "conversations";

/** The kept conversations. */
export class Shelf {
  #database;

  /** @param {IDBDatabase} database */
  constructor(database) {
    this.#database = database;
  }

  /** Opens the browser's database; throws where the browser keeps nothing. */
  static async open() {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    return new Shelf(await settled(request));
  }

  /** @returns {Promise<import("./conversation.js").Conversation[]>} the one changed last first */
  async all() {
    const kept = await settled(this.#store("readonly").getAll());
    return kept.sort((a, b) => b.changed - a.changed);
  }

  /** Keeps a conversation, in place of an older state of it. */
  async put(conversation) {
    await settled(this.#store("readwrite").put(conversation));
  }

  /** Forgets a conversation. */
  async remove(id) {
    await settled(this.#store("readwrite").delete(id));
  }

  #store(mode) {
    return this.#database.transaction(STORE, mode).objectStore(STORE);
  }
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
