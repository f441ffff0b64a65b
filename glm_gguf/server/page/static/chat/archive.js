/** Conversations as a JSON file, and back: what is read, there or in the browser, is checked field by field, whatever wrote it. */

import { UNTITLED } from "./conversation.js";
import { identifier } from "./identifier.js";
import { settingsFrom } from "./settings.js";

const FORM = "glm-gguf conversations";
const VERSION = 1;
const MOST_CONVERSATIONS = 10_000;
const MOST_MESSAGES = 20_000;
const MOST_BYTES = 100_000_000;
const ROLES = ["user", "assistant", "tool"];

/** What is wrong with a file, in words for its owner. */
export class ArchiveError extends Error {}

/** Returns the file's text. */
export function archived(conversations) {
  return JSON.stringify({ form: FORM, version: VERSION, conversations }, null, 1);
}

/** Returns the conversations of a file, under new names, so that none replaces one that is kept; throws ArchiveError. */
export async function unarchived(blob, now) {
  require(blob.size <= MOST_BYTES, `The file is larger than ${MOST_BYTES / 1_000_000} MB.`);
  const file = json(await blob.text().catch(() => require(false, "The file could not be read.")));
  require(file?.form === FORM, "This is no file of exported conversations.");
  require(file.version === VERSION, `The file has version ${String(file.version)}; this page reads version ${VERSION}.`);
  require(Array.isArray(file.conversations), "The file holds no list of conversations.");
  require(file.conversations.length <= MOST_CONVERSATIONS, `The file holds more than ${MOST_CONVERSATIONS} conversations.`);
  return file.conversations.map((conversation, index) => ({ ...checked(conversation, `Conversation ${index + 1}`, now), id: identifier() }));
}

/** Returns a conversation as it was kept, or null where that is damaged. */
export function restored(value, now) {
  try {
    return { ...checked(value, "It", now), id: value.id };
  } catch (error) {
    if (!(error instanceof ArchiveError)) throw error;
    return null;
  }
}

function checked(value, where, now) {
  require(isRecord(value) && Array.isArray(value.messages), `${where} has no messages.`);
  require(value.messages.length <= MOST_MESSAGES, `${where} has more than ${MOST_MESSAGES} messages.`);
  const seen = new Set();
  const messages = value.messages.map((message, index) => {
    const sound = checkedMessage(message, seen, `${where}, message ${index + 1}`, now);
    seen.add(sound.id);
    return sound;
  });
  require(value.leaf === null ? !messages.length : seen.has(value.leaf), `${where} shows a message that it does not hold.`);
  return {
    title: typeof value.title === "string" && value.title.trim() ? value.title.slice(0, 200) : UNTITLED,
    created: time(value.created, now),
    changed: time(value.changed, now),
    settings: settingsFrom(value.settings),
    messages,
    leaf: value.leaf,
  };
}

function checkedMessage(value, seen, where, now) {
  require(isRecord(value) && typeof value.id === "string" && /^[\w-]{1,64}$/.test(value.id), `${where} has no id.`);
  require(!seen.has(value.id), `${where} has the id of an earlier one.`);
  require(value.parent === null || seen.has(value.parent), `${where} stands below none before it.`);
  require(ROLES.includes(value.role), `${where} has no role that this page knows.`);
  require(typeof value.content === "string", `${where} has no text.`);
  const common = { id: value.id, parent: value.parent, role: value.role, content: value.content, created: time(value.created, now) };
  if (value.role === "user") return common;
  if (value.role === "tool") return { ...common, callId: text(value.callId) };
  return {
    ...common,
    reasoning: text(value.reasoning),
    thoughtSeconds: number(value.thoughtSeconds),
    calls: checkedCalls(value.calls, where),
    finish: text(value.finish),
    usage: checkedUsage(value.usage),
    rate: number(value.rate),
  };
}

function checkedCalls(value, where) {
  const calls = value ?? [];
  const fit = Array.isArray(calls) && calls.every((call) => isRecord(call) && [call.id, call.name, call.arguments].every((part) => typeof part === "string"));
  require(fit, `${where} has calls of another form.`);
  return calls.map(({ id, name, arguments: given }) => ({ id, name, arguments: given }));
}

function checkedUsage(value) {
  const [prompt, completion] = [number(value?.prompt), number(value?.completion)];
  return prompt === null || completion === null ? null : { prompt, completion };
}

function json(source) {
  try {
    return JSON.parse(source);
  } catch {
    throw new ArchiveError("The file is not JSON.");
  }
}

function require(condition, complaint) {
  if (!condition) throw new ArchiveError(complaint);
}

const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const text = (value) => (typeof value === "string" ? value : "");
const number = (value) => (Number.isFinite(value) && value >= 0 ? value : null);
const time = (value, now) => (Number.isFinite(value) && value >= 0 && value <= now ? value : now);
