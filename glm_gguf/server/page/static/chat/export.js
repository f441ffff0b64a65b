/** Conversations as a JSON file, and back. */

import { identifier } from "./identifier.js";
import { InvalidError, isRecord, require } from "./sound.js";
import { validConversation } from "./validation.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */

const FORM = "glm-gguf conversations";
const VERSION = 1;
const MOST_CONVERSATIONS = 10_000;
const MOST_BYTES = 100_000_000;

/**
 * Returns the file's text.
 * @param {Conversation[]} conversations
 */
export function exportText(conversations) {
  return JSON.stringify({ form: FORM, version: VERSION, conversations }, null, 1);
}

/**
 * Returns the conversations of a file under new ids, so that none replaces a kept one; throws InvalidError.
 * @param {Blob} blob
 * @param {number} now
 * @returns {Promise<Conversation[]>}
 */
export async function importFile(blob, now) {
  require(blob.size <= MOST_BYTES, `The file is larger than ${MOST_BYTES / 1_000_000} MB.`);
  const file = parsed(await textOf(blob));
  require(isRecord(file) && file.form === FORM, "This is not a file of exported conversations.");
  require(file.version === VERSION, `The file has version ${String(file.version)}; this page reads version ${VERSION}.`);
  require(Array.isArray(file.conversations), "The file has no list of conversations.");
  require(file.conversations.length <= MOST_CONVERSATIONS, `The file has more than ${MOST_CONVERSATIONS} conversations.`);
  return file.conversations.map((conversation, index) => ({ ...validConversation(conversation, `Conversation ${index + 1}`, now), id: identifier() }));
}

/** @param {Blob} blob */
async function textOf(blob) {
  try {
    return await blob.text();
  } catch {
    throw new InvalidError("The file could not be read.");
  }
}

/** @param {string} source @returns {unknown} */
function parsed(source) {
  try {
    return JSON.parse(source);
  } catch {
    throw new InvalidError("The file is not JSON.");
  }
}
