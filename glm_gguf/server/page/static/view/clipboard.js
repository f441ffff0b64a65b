/** Copies texts, also where the browser forbids the clipboard API or lacks it, as on pages of other machines without TLS. */

import { element, icon } from "./dom.js";

const SHOWN_FOR = 1500;

/**
 * Returns a button that copies a text, and says so.
 * @param {string} label
 * @param {() => string} text called at the click
 * @param {string} className
 */
export function copyButton(label, text, className = "icon-button small") {
  const mark = element("span", { class: "mark" }, icon("copy"));
  const button = element("button", { class: className, type: "button", "aria-label": label, title: label }, mark);
  button.addEventListener("click", async () => {
    const done = await copied(text());
    button.focus();
    mark.replaceChildren(icon(done ? "done" : "close"));
    button.setAttribute("aria-label", done ? "Copied" : "The browser did not copy it");
    setTimeout(() => {
      mark.replaceChildren(icon("copy"));
      button.setAttribute("aria-label", label);
    }, SHOWN_FOR);
  });
  return button;
}

/** @param {string} text */
async function copied(text) {
  const written = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  return written || copiedFromPage(text);
}

/** @param {string} text */
function copiedFromPage(text) {
  const holder = element("textarea", { class: "visually-hidden", readonly: true });
  holder.value = text;
  document.body.append(holder);
  holder.select();
  const done = document.execCommand("copy");
  holder.remove();
  return done;
}
