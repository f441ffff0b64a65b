/** One answer being written, and the message that it becomes. */

import { emptyAnswer, thoughtSeconds, tokenRate } from "../wire/partial_answer.js";
import { showing, withMessage } from "./conversation.js";
import { identifier } from "./identifier.js";

/**
 * @typedef {import("./conversation.js").Conversation} Conversation
 *
 * @typedef {object} Run
 * @property {string} id of the message that it becomes
 * @property {string | null} parent
 * @property {import("../wire/partial_answer.js").PartialAnswer} answer
 * @property {AbortController} controller
 * @property {number} storedAt
 * @property {Conversation | null} before the conversation with what came before a reload of the page; null without one
 */

/**
 * Returns a run of which nothing has come.
 * @param {string | null} parent the message that it answers
 * @param {string} id
 * @param {Conversation | null} before
 * @returns {Run}
 */
export function newRun(parent, id = identifier(), before = null) {
  const now = performance.now();
  return { id, parent, answer: emptyAnswer(now), controller: new AbortController(), storedAt: now, before };
}

/**
 * Returns the conversation without what was stored of an answer that is sent again.
 * @param {Conversation} conversation
 * @param {string | null} parent the message that it answers
 * @param {string} id
 */
export function withoutAnswer(conversation, parent, id) {
  const messages = conversation.messages.filter((message) => message.id !== id);
  return { ...conversation, messages, leaf: conversation.leaf === id ? parent : conversation.leaf };
}

/**
 * Returns the conversation with the answer so far; it shows the answer if it shows the message above.
 * @param {Conversation} conversation
 * @param {Run} run
 * @param {"stopped" | "failed" | null} finish null where the model ended the answer
 */
export function answered(conversation, { id, answer, parent }, finish) {
  const grown = withMessage(conversation, parent, {
    id,
    role: "assistant",
    content: answer.content,
    reasoning: answer.reasoning,
    thoughtSeconds: thoughtSeconds(answer, answer.lastAt ?? performance.now()),
    calls: answer.finish === "tool_calls" ? answer.calls.map((call) => ({ ...call, id: call.id || identifier() })) : [],
    finish: finish ?? answer.finish,
    usage: answer.usage,
    rate: answer.trail.length ? null : tokenRate(answer),
    trail: answer.trail,
  }, Date.now());
  return conversation.leaf === parent ? grown : { ...grown, leaf: conversation.leaf };
}

/**
 * Returns the conversation without an answer that was stopped before it began; it shows the answer before that again.
 * @param {Conversation} conversation
 * @param {Run} run
 */
export function unanswered(conversation, { parent, before }) {
  if (before) return before;
  return conversation.leaf === parent ? showing(conversation, parent) : conversation;
}

/**
 * Says whether nothing of the answer has come.
 * @param {Run} run
 */
export function isEmpty({ answer }) {
  return !answer.content && !answer.reasoning && !answer.calls.length && !answer.trail.length;
}
