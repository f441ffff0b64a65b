/** The answers that this tab has begun, as the browser keeps them over a reload of the page. */

import { isRecord } from "./sound.js";

/** @typedef {{run: string, parent: string | null}} BegunRun id of the answer, and the message that it answers */

const NAME = "answers";

export const begunRuns = {
  /** @returns {[string, BegunRun][]} id of the conversation → its answer */
  all() {
    return /** @type {[string, BegunRun][]} */ (Object.entries(read()).filter((entry) => isBegun(entry[1])));
  },
  /** @param {string} conversation @param {import("./run.js").Run} run */
  add(conversation, { id, parent }) {
    write({ ...read(), [conversation]: { run: id, parent } });
  },
  /** @param {string} conversation */
  remove(conversation) {
    write(Object.fromEntries(Object.entries(read()).filter(([id]) => id !== conversation)));
  },
};

/** @param {any} begun */
function isBegun(begun) {
  return isRecord(begun) && typeof begun.run === "string" && /^[0-9a-f]{32}$/.test(begun.run) && (begun.parent === null || typeof begun.parent === "string");
}

/** @returns {Record<string, unknown>} */
function read() {
  try {
    const stored = JSON.parse(sessionStorage.getItem(NAME) ?? "{}");
    return isRecord(stored) ? stored : {};
  } catch {
    return {}; // the browser's owner has forbidden storage: a reload ends the answer
  }
}

/** @param {Record<string, unknown>} begun */
function write(begun) {
  try {
    sessionStorage.setItem(NAME, JSON.stringify(begun));
  } catch {
    // as above
  }
}
