/** Modal dialogs. */

import { byId, element } from "./dom.js";

/**
 * Asks for a text; resolves to null where the user cancels.
 * @param {string} title
 * @param {string} label
 * @param {string} value that stands there at first
 * @param {string} button
 */
export function prompt(title, label, value, button) {
  const field = element("input", { class: "input", value, required: true, maxlength: 200 });
  const content = element("label", { class: "field" }, element("span", {}, label), field);
  return opened(title, content, { button, cancel: true, answer: () => field.value.trim() || null });
}

/**
 * Asks for consent to something that cannot be undone.
 * @param {string} title
 * @param {string} text
 * @param {string} button
 */
export async function confirm(title, text, button) {
  return (await opened(title, element("p", {}, text), { button, kind: "danger", cancel: true, answer: () => true })) === true;
}

/**
 * Shows something until the user closes it.
 * @param {string} title
 * @param {HTMLElement} content
 */
export function show(title, content) {
  return opened(title, content, { button: "Close", answer: () => null });
}

/**
 * @template T
 * @typedef {object} Choice
 * @property {string} button
 * @property {"primary" | "danger"} [kind]
 * @property {boolean} [cancel] whether there is a button for it
 * @property {() => T} answer of whoever clicks the button
 */

/**
 * @template T
 * @param {string} title
 * @param {HTMLElement} content
 * @param {Choice<T>} choice
 * @returns {Promise<T | null>}
 */
function opened(title, content, { button, kind = "primary", cancel = false, answer }) {
  const dialog = byId("dialog", HTMLDialogElement);
  const leave = cancel && element("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Cancel");
  const buttons = element("div", { class: "dialog-buttons" }, leave, element("button", { class: `button ${kind}` }, button));
  const form = element("form", {}, element("h2", { id: "dialog-title" }, title), content, buttons);
  dialog.replaceChildren(form);
  dialog.showModal();
  content.querySelector("input")?.select();
  return new Promise((resolve) => {
    /** @type {T | null} */
    let result = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      result = answer();
      dialog.close();
    });
    dialog.addEventListener("close", () => resolve(result), { once: true });
  });
}
