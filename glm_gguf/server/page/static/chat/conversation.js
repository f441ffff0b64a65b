/** A conversation as a tree of messages: a retry or an edit adds a branch, and nothing is lost. */

import { identifier } from "./identifier.js";

/**
 * @typedef {object} Common
 * @property {string} id
 * @property {string | null} parent the message above; null for first ones
 * @property {string} content
 * @property {number} created
 *
 * @typedef {Common & {role: "user"}} UserMessage
 * @typedef {Common & {role: "tool", callId: string}} ToolMessage a call's result
 *
 * @typedef {object} AnswerFields
 * @property {"assistant"} role
 * @property {string} reasoning
 * @property {number | null} thoughtSeconds
 * @property {import("../wire/partial_answer.js").Call[]} calls
 * @property {string | null} finish OpenAI's reason, or `stopped`, `failed`
 * @property {import("../wire/partial_answer.js").Usage | null} usage
 * @property {number | null} rate tokens a second
 * @property {import("./trail.js").Step[]} trail of a research; empty for any other answer
 *
 * @typedef {Common & AnswerFields} Answer
 * @typedef {UserMessage | ToolMessage | Answer} Message
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

/**
 * @template {Message} M
 * @typedef {Omit<M, "id" | "parent" | "created"> & {id?: string}} Unplaced a message that has no place in a conversation yet
 */

/** @typedef {Unplaced<UserMessage> | Unplaced<ToolMessage> | Unplaced<Answer>} NewMessage */

const TITLE_LENGTH = 60;
export const UNTITLED = "New chat";

/**
 * Returns a conversation without a message.
 * @param {import("./settings.js").Settings} settings
 * @param {number} now
 * @returns {Conversation}
 */
export function newConversation(settings, now) {
  return { id: identifier(), title: UNTITLED, created: now, changed: now, settings, messages: [], leaf: null };
}

/**
 * Returns the conversation with a message below `parent`, which is then the last one shown.
 * @param {Conversation} conversation
 * @param {string | null} parent
 * @param {NewMessage} fields
 * @param {number} now
 * @returns {Conversation}
 */
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
 * Messages do not change, but for an answer that another tab is still writing.
 * @param {Conversation} older
 * @param {Conversation} newer
 * @returns {Conversation}
 */
export function merged(older, newer) {
  const messages = new Map(older.messages.map((message) => [message.id, message]));
  for (const message of newer.messages) {
    const known = messages.get(message.id);
    if (!known || (isUnfinished(known) && size(message) >= size(known))) messages.set(message.id, message);
  }
  return { ...newer, messages: [...messages.values()] };
}

/**
 * Returns our state of a conversation with what another tab added: the branch that we show stays, and our running answer.
 * @param {Conversation} ours
 * @param {Conversation} theirs
 * @param {string} [running] the answer that is being written here
 */
export function joined(ours, theirs, running) {
  const both = merged(ours, { ...theirs, messages: theirs.messages.filter(({ id }) => id !== running) });
  return running ? { ...both, leaf: ours.leaf } : showing(both, ours.leaf);
}

/** @param {Message} message */
const isUnfinished = (message) => message.role === "assistant" && message.finish === "failed";

/** @param {Message} message */
const size = (message) => message.content.length + (message.role === "assistant" ? message.reasoning.length : 0);

/**
 * Returns the messages of the branch that is shown, first to last.
 * @param {Conversation} conversation
 */
export function shownMessages(conversation) {
  return branchTo(conversation.messages, conversation.leaf);
}

/**
 * Returns the messages from the first one down to `id`.
 * @param {Message[]} messages
 * @param {string | null} id
 */
export function branchTo(messages, id) {
  const byId = new Map(messages.map((message) => [message.id, message]));
  const branch = [];
  for (let message = byId.get(id ?? ""); message; message = byId.get(message.parent ?? "")) branch.push(message);
  return branch.reverse();
}

/**
 * Returns a shown result of a call, and those that directly follow it.
 * @param {Conversation} conversation
 * @param {ToolMessage} result
 */
export function resultsFrom(conversation, result) {
  const shown = shownMessages(conversation);
  const results = [];
  for (const message of shown.slice(shown.findIndex(({ id }) => id === result.id))) {
    if (message.role !== "tool") break;
    results.push(message);
  }
  return results;
}

/**
 * Returns the messages by the one above them: those of a list are alternatives, oldest first.
 * @param {Conversation} conversation
 */
export function byParent(conversation) {
  /** @type {Map<string | null, Message[]>} */
  const places = new Map();
  for (const message of conversation.messages) {
    const alternatives = places.get(message.parent);
    if (alternatives) alternatives.push(message);
    else places.set(message.parent, [message]);
  }
  return places;
}

/**
 * Returns the conversation that shows the branch through `id`, down to its newest end.
 * @param {Conversation} conversation
 * @param {string | null} id
 * @returns {Conversation}
 */
export function showing(conversation, id) {
  const newestBelow = new Map(conversation.messages.map((message) => [message.parent, message.id]));
  let leaf = id;
  for (let next = newestBelow.get(leaf); next !== undefined; next = newestBelow.get(leaf)) leaf = next;
  return { ...conversation, leaf };
}

/**
 * Returns the tokens of the shown branch at its last answer, or null.
 * @param {Conversation} conversation
 */
export function contextTokens(conversation) {
  for (const message of shownMessages(conversation).reverse()) {
    if (message.role === "assistant" && message.usage && !message.trail.length) return message.usage.prompt + message.usage.completion;
  }
  return null;
}

/** @param {string} content */
function titleOf(content) {
  const line = content.trim().split("\n", 1)[0].trim();
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1).trimEnd()}…` : line || UNTITLED;
}
