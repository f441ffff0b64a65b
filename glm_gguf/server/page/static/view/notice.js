/** A notice above the message box: what went wrong, and what to do about it. */

import { byId, element, iconButton } from "./dom.js";

/** @type {Record<string, string>} by action */
const BUTTONS = { settings: "Open settings", retry: "Try again" };

/**
 * Shows a problem.
 * @param {import("../wire/problem.js").Problem} problem
 * @param {Partial<Record<import("../wire/problem.js").Action, (key: string) => void>>} actions by the problem's `action`; `key` is called with the key
 */
export function showProblem(problem, actions) {
  const { message, advice, action } = problem;
  const act = action && actions[action];
  const run = (key = "") => {
    clearNotice();
    act?.(key);
  };
  const button = act && action !== "key" && element("button", { class: "button", type: "button", onclick: () => run() }, BUTTONS[action]);
  const form = act && action === "key" && keyForm(run);
  const text = element("div", {}, element("strong", {}, message), advice, form);
  byId("notice").replaceChildren(...[text, button, iconButton("close", "Dismiss", clearNotice)].filter((part) => part instanceof Node));
}

export function clearNotice() {
  byId("notice").replaceChildren();
}

/** @param {(key: string) => void} onkey */
function keyForm(onkey) {
  const field = element("input", { class: "input", type: "password", autocomplete: "off", required: true, "aria-label": "API key" });
  const use = (/** @type {Event} */ event) => {
    event.preventDefault();
    onkey(field.value);
  };
  return element("form", { class: "key", onsubmit: use }, field, element("button", { class: "button" }, "Use key"));
}
