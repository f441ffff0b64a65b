/** The field in which a person edits a message. */

import { element } from "./dom.js";

/**
 * Returns the editor; it calls one of the two when it is done.
 * @param {string} text
 * @param {(text: string) => void} onsave
 * @param {() => void} oncancel
 */
export function editor(text, onsave, oncancel) {
  const field = element("textarea", { class: "input", dir: "auto", "aria-label": "Edit message", rows: Math.min(12, text.split("\n").length + 1) });
  field.value = text;
  const save = () => field.value.trim() && onsave(field.value);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      oncancel();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      save();
    }
  });
  const cancel = element("button", { class: "button", type: "button", onclick: oncancel }, "Cancel");
  const send = element("button", { class: "button primary", type: "button", onclick: save }, "Send");
  queueMicrotask(() => field.focus());
  return element("div", { class: "editor" }, field, element("div", { class: "editor-buttons" }, cancel, send));
}
