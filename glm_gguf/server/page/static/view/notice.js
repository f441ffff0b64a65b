/** What went wrong, above the message box, with what to do about it. */

import { byId, element, iconButton } from "./dom.js";

const BUTTONS = { settings: "Open settings", retry: "Try again" };

/**
 * Shows a problem, or none.
 * @param {import("../wire/problem.js").Problem | null} problem
 * @param {Record<string, () => void>} actions by the problem's `action`
 */
export function showProblem(problem, actions) {
  const notice = byId("notice");
  notice.replaceChildren();
  if (!problem) return;
  const act = () => {
    notice.replaceChildren();
    actions[problem.action]();
  };
  const button = problem.action && element("button", { class: "button", type: "button", onclick: act }, BUTTONS[problem.action]);
  const close = iconButton("close", "Dismiss", () => notice.replaceChildren());
  notice.append(...[element("div", {}, element("strong", {}, problem.message), problem.advice), button, close].filter(Boolean));
}
