/** Conversations as a JSON file, and back: what is read is checked field by field, whatever wrote it. */

import { UNTITLED } from "./conversation.js";
import { identifier } from "./identifier.js";
import { settingsFrom } from "./settings.js";

const FORM = "glm-gguf conversations";
const VERSION = 1;
const MOST_MESSAGES = 20_000;
const ROLES = ["user", "assistant", "tool"];

/** What is wrong with a file, in words for its owner. */
export class ArchiveError extends Error {}

/** Returns the file's text. */
export function archived(conversations) {
  return JSON.stringify({ form: FORM, version: VERSION, conversations }, null, 1);
}

/** Returns the conversations of a file's text, under new names, so that none replaces one that is kept. */
export function unarchived(text, now) {
  const file = json(text);
  require(file?.form === FORM, "This is no file of exported conversations.");
  require(file.version === VERSION, `The file has version ${String(file.version)}; this page reads version ${VERSION}.`);
  require(Array.isArray(file.conversations), "The file holds no list of conversations.");
  return file.conversations.map((conversation, index) => checkedConversation(conversation, `Conversation ${index + 1}`, now));
}

function checkedConversation(value, where, now) {
  require(isRecord(value) && Array.isArray(value.messages), `${where} has no messages.`);
  require(value.messages.length <= MOST_MESSAGES, `${where} has more than ${MOST_MESSAGES} messages.`);
  const seen = new Set();
  const messages = value.messages.map((message, index) => {
    const checked = checkedMessage(message, seen, `${where}, message ${index + 1}`, now);
    seen.add(checked.id);
    return checked;
  });
  require(value.leaf === null ? !messages.length : seen.has(value.leaf), `${where} shows a message that it does not hold.`);
  return {
    id: identifier(),
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
