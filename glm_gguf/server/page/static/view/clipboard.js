/** Copying, also where the browser has no clipboard API: pages without TLS that are not on this machine. */

import { element, icon } from "./dom.js";

const SHOWN_FOR = 1500;

/** Returns a button that copies what `text` then returns, and says so. */
export function copyButton(label, text, className = "icon-button small") {
  const mark = element("span", { class: "mark" }, icon("copy"));
  const button = element("button", { class: className, type: "button", "aria-label": label, title: label }, mark);
  button.addEventListener("click", async () => {
    await copied(text());
    mark.replaceChildren(icon("done"));
    button.setAttribute("aria-label", "Copied");
    setTimeout(() => {
      mark.replaceChildren(icon("copy"));
      button.setAttribute("aria-label", label);
    }, SHOWN_FOR);
  });
  return button;
}

async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const holder = element("textarea", { class: "visually-hidden", readonly: true });
  holder.value = text;
  document.body.append(holder);
  holder.select();
  document.execCommand("copy");
  holder.remove();
  return undefined;
}
