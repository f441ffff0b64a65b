/** One message of the conversation, with the buttons that act on it. */

import { showMarkdown } from "../markdown/streaming.js";
import { copyButton } from "./clipboard.js";
import { element, iconButton } from "./dom.js";
import { editor } from "./editor.js";
import { thoughtView } from "./thought.js";
import { callsForm, callsList, resultCard } from "./tool_calls.js";
import { references, trailView } from "./trail.js";

/**
 * @typedef {import("../chat/conversation.js").Answer} Answer
 * @typedef {import("../chat/conversation.js").Message} Message
 *
 * @typedef {object} Place
 * @property {Message[]} alternatives to the message, itself among them
 * @property {boolean} last whether nothing follows, and nothing is being written
 * @property {boolean} running whether the server runs the calls of the message
 * @property {string} toolName of the call whose result the message is
 * @property {boolean} thoughtOpen
 *
 * @typedef {object} Actions
 * @property {(answer: Answer) => void} retry
 * @property {(message: Message, text: string) => void} edit
 * @property {(answer: Answer) => void} saveReport
 * @property {() => void} resume has the last message answered
 * @property {(answer: Answer, results: string[]) => void} answerCalls
 * @property {(message: Message, step: -1 | 1) => void} turn shows the alternative before or after it
 */

/** @type {Record<string, string>} by the answer's `finish` */
const ENDINGS = {
  length: "The answer was cut at its token limit, or at the end of the context.",
  stopped: "Stopped.",
  failed: "The answer broke off.",
  timeout: "The answer reached the server’s time limit.",
};

/** @param {Message} message @param {Place} place @param {Actions} actions */
export function messageView(message, place, actions) {
  const { name, body, buttons } = parts(message, place, actions);
  const facts = message.role === "assistant" ? factsOf(message) : null;
  const bar = element("div", { class: "actions" }, ...buttons, branches(message, place, actions), facts);
  return element("li", { class: `message ${message.role}`, "data-message": message.id }, element("h2", { class: "visually-hidden" }, name), body, bar);
}

/** @param {Message} message @param {Place} place @param {Actions} actions */
function parts(message, place, actions) {
  if (message.role === "assistant") {
    const retry = iconButton("retry", "Write this answer again", () => actions.retry(message));
    const save = message.trail.length > 0 && iconButton("save", "Save report", () => actions.saveReport(message));
    return { name: "Model", body: answerBody(message, place, actions), buttons: [copyButton("Copy answer", () => message.content), save, retry] };
  }
  const said = message.role === "user";
  const body = said ? element("div", { class: "said", dir: "auto" }, message.content) : resultCard(place.toolName, message.content);
  const copy = said && copyButton("Copy message", () => message.content);
  return { name: said ? "You" : "Tool", body, buttons: [copy, editButton(message, body, actions), answerButton(place, actions)] };
}

/** @param {Answer} answer @param {Place} place @param {Actions} actions */
function answerBody(answer, place, actions) {
  const body = element("div");
  if (answer.reasoning) body.append(thoughtView(answer.reasoning, answer.thoughtSeconds, place.thoughtOpen));
  if (answer.trail.length) body.append(trailView(answer.trail));
  if (answer.content) {
    const prose = element("div", { class: "prose" });
    showMarkdown(prose, answer.content);
    body.append(prose);
  }
  body.append(references(answer.trail) ?? "");
  const open = place.last && !place.running;
  if (answer.calls.length) body.append(open ? callsForm(answer.calls, (results) => actions.answerCalls(answer, results)) : callsList(answer.calls, place.running));
  const empty = !answer.content && !answer.calls.length;
  const ending = ENDINGS[answer.finish ?? ""] ?? (empty ? "The answer is empty." : null);
  if (ending) body.append(element("p", { class: answer.finish === "failed" ? "ended bad" : "ended" }, ending));
  return body;
}

/** @param {Message} message @param {HTMLElement} body @param {Actions} actions */
function editButton(message, body, actions) {
  const button = iconButton("pencil", "Edit message", () => {
    const buttons = button.closest("div");
    const close = () => {
      editing.replaceWith(body);
      if (buttons) buttons.hidden = false;
      button.focus();
    };
    const editing = editor(message.content, (text) => actions.edit(message, text), close);
    body.replaceWith(editing);
    if (buttons) buttons.hidden = true;
  }, { "data-edit": true });
  return button;
}

/**
 * Returns a button where the answer was stopped or refused before it began.
 * @param {Place} place
 * @param {Actions} actions
 */
function answerButton({ last }, actions) {
  return last ? iconButton("reply", "Have this answered", () => actions.resume()) : null;
}

/** @param {Message} message @param {Place} place @param {Actions} actions */
function branches(message, { alternatives }, actions) {
  if (alternatives.length < 2) return null;
  const index = alternatives.indexOf(message);
  const back = iconButton("left", "Earlier version", () => actions.turn(message, -1), { disabled: index === 0, "data-turn": -1 });
  const on = iconButton("right", "Later version", () => actions.turn(message, 1), { disabled: index === alternatives.length - 1, "data-turn": 1 });
  const where = element("span", { "aria-label": `Version ${index + 1} of ${alternatives.length}`, role: "img" }, `${index + 1} / ${alternatives.length}`);
  return element("div", { class: "branches", role: "group", "aria-label": "Versions" }, back, where, on);
}

/** @param {Answer} answer */
function factsOf({ usage, rate }) {
  const drafted = usage?.drafted ? `, ${usage.drafted} drafted` : "";
  const facts = [usage && `${usage.completion} tokens${drafted}`, rate && `${rate.toFixed(1)} tokens/s`].filter(Boolean);
  return facts.length ? element("span", { class: "facts" }, facts.join(" · ")) : null;
}
