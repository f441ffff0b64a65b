/** The page before the first message: which model answers, and suggestions. */

import { suggestions } from "../chat/examples.js";
import { thinks } from "../wire/api.js";
import { byId, element } from "./dom.js";

/** @typedef {import("../wire/api.js").Model} Model */

/**
 * Draws the empty state.
 * @param {Model | null} model null until the server has said
 * @param {string} state of the server, where it has told no model
 * @param {(suggestion: import("../chat/examples.js").Suggestion) => void} onsuggestion
 */
export function drawWelcome(model, state, onsuggestion) {
  const facts = model ? factsOf(model).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))) : [];
  byId("welcome").replaceChildren(
    element("h2", { id: "welcome-title" }, "What shall we talk about?"),
    element("p", {}, model ? introduction(model) : state),
    element("dl", {}, ...facts),
    element("ul", { class: "suggestions" }, ...suggestions(model?.tools ?? []).map((suggestion) => element("li", {}, card(suggestion, onsuggestion)))),
  );
}

/**
 * @param {import("../chat/examples.js").Suggestion} suggestion
 * @param {(suggestion: import("../chat/examples.js").Suggestion) => void} onsuggestion
 */
function card(suggestion, onsuggestion) {
  return element("button", { class: "suggestion", type: "button", onclick: () => onsuggestion(suggestion) }, element("strong", {}, suggestion.title), element("span", {}, suggestion.hint));
}

/** @param {Model} model */
function introduction(model) {
  const common = "The model runs on this server; what you write goes nowhere else.";
  return thinks(model) ? `It thinks before it answers. ${common}` : common;
}

/** @param {Model} model */
function factsOf({ id, contextSize }) {
  return contextSize ? [["Model", id], ["Context", `${contextSize.toLocaleString("en")} tokens`]] : [["Model", id]];
}
