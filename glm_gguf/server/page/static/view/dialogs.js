/** Questions that must be answered before anything else. */

import { byId, element } from "./dom.js";

/** Asks for a text; resolves to null where the question is left. */
export function asked(title, label, value, confirm) {
  const field = element("input", { class: "input", value, required: true, maxlength: 200 });
  return opened(title, element("label", { class: "field" }, element("span", {}, label), field), { confirm, answer: () => field.value.trim() || null });
}

/** Asks for consent to what cannot be undone. */
export async function confirmed(title, text, confirm) {
  return (await opened(title, element("p", {}, text), { confirm, kind: "danger", answer: () => true })) === true;
}

/** Shows something until it is closed. */
export function shown(title, content) {
  return opened(title, content, { confirm: "Close", only: true, answer: () => null });
}

function opened(title, content, { confirm, kind = "primary", only = false, answer }) {
  const dialog = byId("dialog");
  const cancel = element("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Cancel");
  const buttons = element("div", { class: "dialog-buttons" }, !only && cancel, element("button", { class: `button ${kind}` }, confirm));
  const form = element("form", {}, element("h2", { id: "dialog-title" }, title), content, buttons);
  dialog.replaceChildren(form);
  dialog.showModal();
  content.querySelector("input")?.select();
  return new Promise((resolve) => {
    let result = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      result = answer();
      dialog.close();
    });
    dialog.addEventListener("close", () => resolve(result), { once: true });
  });
}
