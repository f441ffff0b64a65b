/** Checks that a value of any origin, such as a file or the browser's storage, is a conversation, field by field. */

import { UNTITLED } from "./conversation.js";
import { settingsFrom } from "./settings.js";
import { isRecord, require } from "./sound.js";
import { validTrail } from "./trail.js";

/**
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./conversation.js").Message} Message
 */

const MOST_MESSAGES = 20_000;

/**
 * Returns a conversation with sound fields; throws InvalidError.
 * @param {unknown} value
 * @param {string} where names it in errors
 * @param {number} now stands for times that are missing or lie ahead
 * @returns {Omit<Conversation, "id">}
 */
export function validConversation(value, where, now) {
  require(isRecord(value) && Array.isArray(value.messages), `${where} has no messages.`);
  require(value.messages.length <= MOST_MESSAGES, `${where} has more than ${MOST_MESSAGES} messages.`);
  /** @type {Set<unknown>} */
  const seen = new Set();
  const messages = value.messages.map((message, index) => {
    const valid = validMessage(message, seen, `${where}, message ${index + 1}`, now);
    seen.add(valid.id);
    return valid;
  });
  const { leaf } = value;
  const lost = `${where} shows a message that it does not contain.`;
  require(leaf === null || (typeof leaf === "string" && seen.has(leaf)), lost);
  require(leaf !== null || !messages.length, lost);
  return {
    title: text(value.title).trim() ? text(value.title).slice(0, 200) : UNTITLED,
    created: time(value.created, now),
    changed: time(value.changed, now),
    settings: settingsFrom(value.settings),
    messages,
    leaf,
  };
}

/**
 * @param {unknown} value
 * @param {Set<unknown>} seen ids of the messages before it
 * @param {string} where
 * @param {number} now
 * @returns {Message}
 */
function validMessage(value, seen, where, now) {
  require(isRecord(value), `${where} has no id.`);
  const { id, parent, role, content } = value;
  require(typeof id === "string" && /^[\w-]{1,64}$/.test(id), `${where} has no id.`);
  require(!seen.has(id), `${where} has the id of an earlier one.`);
  require(parent === null || (typeof parent === "string" && seen.has(parent)), `${where} names no earlier message as its parent.`);
  require(role === "user" || role === "assistant" || role === "tool", `${where} has an unknown role.`);
  require(typeof content === "string", `${where} has no text.`);
  const common = { id, parent, content, created: time(value.created, now) };
  if (role === "user") return { ...common, role };
  if (role === "tool") return { ...common, role, callId: text(value.callId) };
  return {
    ...common,
    role,
    reasoning: text(value.reasoning),
    thoughtSeconds: number(value.thoughtSeconds),
    calls: validCalls(value.calls, where),
    finish: text(value.finish),
    usage: validUsage(value.usage),
    rate: number(value.rate),
    trail: validTrail(value.trail, where),
  };
}

/** @param {unknown} value @param {string} where */
function validCalls(value, where) {
  const complaint = `${where} has invalid calls.`;
  const calls = value ?? [];
  require(Array.isArray(calls), complaint);
  return calls.map((call) => {
    require(isRecord(call), complaint);
    const { id, name, arguments: given } = call;
    require(typeof id === "string" && typeof name === "string" && typeof given === "string", complaint);
    return { id, name, arguments: given };
  });
}

/** @param {unknown} value */
function validUsage(value) {
  if (!isRecord(value)) return null;
  const [prompt, completion] = [number(value.prompt), number(value.completion)];
  return prompt === null || completion === null ? null : { prompt, completion, drafted: number(value.drafted) ?? 0 };
}

/** @param {unknown} value */
const text = (value) => (typeof value === "string" ? value : "");
/** @param {unknown} value */
const number = (value) => (typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : null);
/** @param {unknown} value @param {number} now */
const time = (value, now) => {
  const given = number(value);
  return given !== null && given <= now ? given : now;
};
