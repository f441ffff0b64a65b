/** What went wrong, above the message box, with what to do about it. */

import { byId, element, iconButton } from "./dom.js";

const BUTTONS = { settings: "Open settings", retry: "Try again" };

/**
 * Shows a problem, or none.
 * @param {import("../wire/problem.js").Problem | null} problem
 * @param {Record<string, (key?: string) => void>} actions by the problem's `action`; `key` is given the key
 */
export function showProblem(problem, actions) {
  const notice = byId("notice");
  notice.replaceChildren();
  if (!problem) return;
  const act = (key) => {
    notice.replaceChildren();
    actions[problem.action](key);
  };
  const name = BUTTONS[problem.action];
  const button = name && element("button", { class: "button", type: "button", onclick: () => act() }, name);
  const form = problem.action === "key" && keyForm(act);
  const close = iconButton("close", "Dismiss", () => notice.replaceChildren());
  notice.append(...[element("div", {}, element("strong", {}, problem.message), problem.advice, form), button, close].filter(Boolean));
}

function keyForm(onkey) {
  const field = element("input", { class: "input", type: "password", autocomplete: "off", required: true, "aria-label": "API key" });
  const use = (event) => {
    event.preventDefault();
    onkey(field.value);
  };
  return element("form", { class: "key", onsubmit: use }, field, element("button", { class: "button" }, "Use key"));
}
