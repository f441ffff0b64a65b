/** A conversation as a tree of messages: whoever retries or edits adds a branch, and nothing is lost. */

import { identifier } from "./identifier.js";

/**
 * @typedef {object} Message
 * @property {string} id
 * @property {string | null} parent the message above; null for first ones
 * @property {"user" | "assistant" | "tool"} role
 * @property {string} content
 * @property {number} created
 * @property {string} [callId] of a tool's result
 * @property {string} [reasoning] and all below: of an answer
 * @property {number | null} [thoughtSeconds]
 * @property {import("../wire/reply.js").Call[]} [calls]
 * @property {string} [finish] OpenAI's reason, or `stopped`, `failed`
 * @property {{prompt: number, completion: number} | null} [usage]
 * @property {number | null} [rate] tokens a second
 *
 * @typedef {object} Conversation
 * @property {string} id
 * @property {string} title
 * @property {number} created
 * @property {number} changed
 * @property {import("./settings.js").Settings} settings
 * @property {Message[]} messages in the order they were made: a parent stands before its children
 * @property {string | null} leaf the last message of the branch that is shown
 */

const TITLE_LENGTH = 60;
export const UNTITLED = "New chat";

/** @returns {Conversation} without a message */
export function newConversation(settings, now) {
  return { id: identifier(), title: UNTITLED, created: now, changed: now, settings, messages: [], leaf: null };
}

/** Returns the conversation with a message below `parent`, which is then the last one shown. */
export function withMessage(conversation, parent, fields, now) {
  const message = { id: identifier(), parent, created: now, ...fields };
  const first = conversation.title === UNTITLED && message.role === "user";
  return {
    ...conversation,
    title: first ? titleOf(message.content) : conversation.title,
    messages: [...conversation.messages, message],
    leaf: message.id,
    changed: now,
  };
}

/**
 * Returns two states of one conversation as one: no message of either is lost, all else is the newer one's.
 * Messages do not change, but for an answer that is still being written in another tab.
 */
export function joined(older, newer) {
  const messages = new Map(older.messages.map((message) => [message.id, message]));
  for (const message of newer.messages) {
    const known = messages.get(message.id);
    if (!known || (known.finish === "failed" && size(message) >= size(known))) messages.set(message.id, message);
  }
  return { ...newer, messages: [...messages.values()] };
}

const size = ({ content, reasoning = "" }) => content.length + reasoning.length;

/** Returns the messages of the branch that is shown, first to last. */
export function shownMessages(conversation) {
  return branchTo(conversation, conversation.leaf);
}

/** Returns the messages from the first one down to `id`. */
export function branchTo(conversation, id) {
  const byId = new Map(conversation.messages.map((message) => [message.id, message]));
  const branch = [];
  for (let message = byId.get(id); message; message = byId.get(message.parent)) branch.push(message);
  return branch.reverse();
}

/** Returns a shown result of a call, and those that directly follow it. */
export function resultsFrom(conversation, result) {
  const shown = shownMessages(conversation);
  const rest = shown.slice(shown.findIndex(({ id }) => id === result.id));
  const end = rest.findIndex(({ role }) => role !== "tool");
  return end < 0 ? rest : rest.slice(0, end);
}

/** Returns the messages by the one above them: those of a list stand in one place, oldest first. */
export function byParent(conversation) {
  const places = new Map();
  for (const message of conversation.messages) {
    if (places.has(message.parent)) places.get(message.parent).push(message);
    else places.set(message.parent, [message]);
  }
  return places;
}

/** Returns the conversation that shows the branch through `id`, down to its newest end. */
export function showing(conversation, id) {
  const newestBelow = new Map(conversation.messages.map((message) => [message.parent, message.id]));
  let leaf = id;
  while (newestBelow.has(leaf)) leaf = newestBelow.get(leaf);
  return { ...conversation, leaf };
}

/** What the meter shows: tokens of the shown branch at its last answer, or null. */
export function contextTokens(conversation) {
  const usage = shownMessages(conversation).findLast((message) => message.usage)?.usage;
  return usage ? usage.prompt + usage.completion : null;
}

/** Says whether any message or the title holds the words, in any case. */
export function mentions(conversation, words) {
  const wanted = words.trim().toLowerCase();
  return [conversation.title, ...conversation.messages.map((message) => message.content)].some((text) => text.toLowerCase().includes(wanted));
}

function titleOf(content) {
  const line = content.trim().split("\n", 1)[0].trim();
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1).trimEnd()}…` : line || UNTITLED;
}
