/** Tool calls as cards, and the form in which a person enters their results. */

/** @typedef {import("../wire/partial_answer.js").Call} Call */

import { copyButton } from "./clipboard.js";
import { element, icon } from "./dom.js";

/**
 * Returns a card: the function's name and its arguments.
 * @param {Call} call
 * @param {...HTMLElement} below
 */
function callCard(call, ...below) {
  const given = pretty(call.arguments);
  const header = element("header", {}, icon("tool"), element("code", {}, call.name), element("span", {}, "Tool call"), copyButton("Copy arguments", () => given));
  const shown = element("pre", { tabindex: 0, role: "region", "aria-label": `Arguments of ${call.name}` }, given);
  return element("section", { class: "call", "aria-label": `Call of ${call.name}` }, header, shown, ...below);
}

/**
 * Returns the cards with a field for each result.
 * @param {Call[]} calls
 * @param {(results: string[]) => void} onresults called with the texts in the calls' order
 */
export function callsForm(calls, onresults) {
  const fields = calls.map((call) => element("textarea", { class: "input code", rows: 2, required: true, placeholder: '{"result": …}', spellcheck: "false", "aria-label": `Result of ${call.name}` }));
  const cards = calls.map((call, index) => callCard(call, element("div", { class: "field" }, element("span", {}, "Result"), fields[index])));
  const button = element("button", { class: "button primary" }, icon("reply"), calls.length > 1 ? "Send results" : "Send result");
  const form = element("form", { class: "calls" }, ...cards, button);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    onresults(fields.map((field) => field.value));
  });
  return form;
}

/**
 * Returns the cards without fields.
 * @param {Call[]} calls
 * @param {boolean} running whether the server runs the calls
 */
export function callsList(calls, running = false) {
  return element("div", { class: "calls" }, ...calls.map((call) => callCard(call)), running && element("p", { class: "running-calls" }, runningText(calls)));
}

/**
 * Says that the server runs calls.
 * @param {Call[]} calls
 */
export function runningText(calls) {
  return `The server is running ${[...new Set(calls.map(({ name }) => name))].join(", ")}…`;
}

/**
 * Returns the result of a call as it was handed to the model.
 * @param {string} name of the function
 * @param {string} content
 */
export function resultCard(name, content) {
  const header = element("header", {}, icon("reply"), "Result of ", element("code", {}, name));
  return element("section", { class: "result", "aria-label": `Result of ${name}` }, header, element("pre", { tabindex: 0, role: "region", "aria-label": "Result" }, pretty(content)));
}

/** @param {string} text */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
