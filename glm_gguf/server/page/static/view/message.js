/** One message of the conversation, with what can be done to it. */

import { showMarkdown } from "../markdown/growing.js";
import { callsForm, callsList, resultCard } from "./calls.js";
import { copyButton } from "./clipboard.js";
import { element, iconButton } from "./dom.js";
import { editor } from "./editor.js";
import { thoughtView } from "./thought.js";

/**
 * @typedef {object} Place
 * @property {import("../chat/conversation.js").Message[]} alternatives what stands in the message's place, itself among them
 * @property {boolean} last whether nothing follows, and nothing is being written
 * @property {string} toolName of the call whose result the message is
 * @property {boolean} thoughtOpen
 *
 * @typedef {object} Deeds
 * @property {(message: object) => void} retry
 * @property {(message: object, text: string) => void} edit
 * @property {() => void} resume answers the last message
 * @property {(message: object, results: string[]) => void} answerCalls
 * @property {(message: object, step: -1 | 1) => void} turn shows the alternative before or behind
 */

const ENDINGS = {
  length: "The answer was cut at its token limit, or at the end of the context.",
  stopped: "Stopped.",
  failed: "The answer broke off.",
  timeout: "The server’s time for one answer was over.",
};

/** @param {Place} place @param {Deeds} deeds */
export function messageView(message, place, deeds) {
  const { name, body, actions } = PARTS[message.role](message, place, deeds);
  const item = element("li", { class: `message ${message.role}`, "data-message": message.id }, element("h2", { class: "visually-hidden" }, name), body);
  item.append(element("div", { class: "actions" }, ...actions(item, body), branches(message, place, deeds), facts(message)));
  return item;
}

const PARTS = {
  user: (message, place, deeds) => ({
    name: "You",
    body: element("div", { class: "said", dir: "auto" }, message.content),
    actions: (item, body) => [copyButton("Copy message", () => message.content), editButton(message, item, body, deeds), answerButton(place, deeds)],
  }),
  tool: (message, place, deeds) => ({
    name: "Tool",
    body: resultCard(place.toolName, message.content),
    actions: (item, body) => [editButton(message, item, body, deeds), answerButton(place, deeds)],
  }),
  assistant: (message, place, deeds) => ({
    name: "Model",
    body: answerBody(message, place, deeds),
    actions: () => [copyButton("Copy answer", () => message.content), iconButton("retry", "Write this answer again", () => deeds.retry(message))],
  }),
};

function answerBody(message, place, deeds) {
  const body = element("div");
  if (message.reasoning) body.append(thoughtView(message.reasoning, message.thoughtSeconds, place.thoughtOpen));
  if (message.content) {
    const prose = element("div", { class: "prose" });
    showMarkdown(prose, message.content);
    body.append(prose);
  }
  if (message.calls.length) body.append(place.last ? callsForm(message.calls, (results) => deeds.answerCalls(message, results)) : callsList(message.calls));
  const empty = !message.content && !message.calls.length;
  const ending = ENDINGS[message.finish] ?? (empty ? "The answer is empty." : null);
  if (ending) body.append(element("p", { class: message.finish === "failed" ? "ended bad" : "ended" }, ending));
  return body;
}

function editButton(message, item, body, deeds) {
  const button = iconButton("pencil", "Edit message", () => {
    const actions = item.querySelector(".actions");
    const close = () => {
      editing.replaceWith(body);
      actions.hidden = false;
      button.focus();
    };
    const editing = editor(message.content, (text) => deeds.edit(message, text), close);
    body.replaceWith(editing);
    actions.hidden = true;
  }, { "data-edit": true });
  return button;
}

/** Offered where the answer was stopped or refused before it began. */
function answerButton({ last }, deeds) {
  return last ? iconButton("reply", "Have this answered", () => deeds.resume()) : null;
}

function branches(message, { alternatives }, deeds) {
  if (alternatives.length < 2) return null;
  const index = alternatives.indexOf(message);
  const back = iconButton("left", "Earlier version", () => deeds.turn(message, -1), { disabled: index === 0, "data-turn": -1 });
  const on = iconButton("right", "Later version", () => deeds.turn(message, 1), { disabled: index === alternatives.length - 1, "data-turn": 1 });
  const where = element("span", { "aria-label": `Version ${index + 1} of ${alternatives.length}`, role: "img" }, `${index + 1} / ${alternatives.length}`);
  return element("div", { class: "branches", role: "group", "aria-label": "Versions" }, back, where, on);
}

function facts({ usage, rate }) {
  const parts = [usage && `${usage.completion} tokens`, rate && `${rate.toFixed(1)} tokens/s`].filter(Boolean);
  return parts.length ? element("span", { class: "facts" }, parts.join(" · ")) : null;
}
