/** Keyboard shortcuts of the whole page, and the list of them. */

import { show } from "./dialogs.js";
import { element } from "./dom.js";

const COMMAND = navigator.platform.startsWith("Mac") ? "⌘" : "Ctrl";
/** @type {[string[], string][]} keys and what they do */
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

/** @param {Record<"leave" | "newChat" | "search" | "settings", () => void>} actions */
export function startShortcuts(actions) {
  /** @type {Record<string, () => void>} */
  const commands = { "shift+o": actions.newChat, k: actions.search, ".": actions.settings, "/": showShortcuts };
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") actions.leave();
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
  return show("Keyboard shortcuts", element("dl", { class: "shortcut-list" }, ...rows));
}
