/** Keys that work everywhere on the page, and the list of them. */

import { shown } from "./dialogs.js";
import { element } from "./dom.js";

const COMMAND = navigator.platform.startsWith("Mac") ? "⌘" : "Ctrl";
const LIST = [
  [["Enter"], "Send the message"],
  [["Shift", "Enter"], "Break the line"],
  [["Esc"], "Stop the answer; close what lies over the page"],
  [["↑"], "Edit your last message, from an empty message box"],
  [[COMMAND, "Shift", "O"], "New chat"],
  [[COMMAND, "K"], "Search conversations"],
  [[COMMAND, "."], "Settings"],
  [[COMMAND, "/"], "This list"],
];

/** @param {Record<"leave" | "fresh" | "search" | "settings", () => void>} deeds */
export function startShortcuts(deeds) {
  const commands = { "shift+o": deeds.fresh, k: deeds.search, ".": deeds.settings, "/": showShortcuts };
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") deeds.leave();
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    const command = commands[`${event.shiftKey ? "shift+" : ""}${event.key.toLowerCase()}`];
    if (!command) return;
    event.preventDefault();
    command();
  });
}

/** Opens the list. */
export function showShortcuts() {
  const rows = LIST.flatMap(([keys, does]) => [element("dt", {}, ...keys.map((key) => element("kbd", {}, key))), element("dd", {}, does)]);
  return shown("Keyboard shortcuts", element("dl", { class: "shortcut-list" }, ...rows));
}
