/** What the page remembers beside conversations: the API key, the colours, and the settings used last. */

import { settingsFrom } from "./settings.js";

/** The key to the server, "" for none. It goes to the server's own origin only. */
export const apiKey = {
  get: () => read("api-key"),
  /** @param {string} key */
  set: (key) => store("api-key", key.trim()),
};

/** Name of the model that was chosen last, "" for none. */
export const chosenModel = {
  get: () => read("model"),
  /** @param {string} id */
  set: (id) => store("model", id),
};

/** "light", "dark", or "" to follow the device. */
export const theme = {
  get: () => read("theme"),
  /** @param {"light" | "dark"} name */
  set: (name) => store("theme", name),
};

/** The settings that a new conversation begins with. */
export const lastSettings = {
  get: () => settingsFrom(parsed(read("settings"))),
  /** @param {import("./settings.js").Settings} settings */
  set: (settings) => store("settings", JSON.stringify(settings)),
};

/**
 * Values that the browser refused to store: they last as long as the page.
 * @type {Map<string, string>}
 */
const unstored = new Map();

/** @param {string} name */
function read(name) {
  try {
    return unstored.get(name) ?? localStorage.getItem(name) ?? "";
  } catch {
    return ""; // the browser's owner has forbidden storage
  }
}

/** @param {string} name @param {string} value */
function store(name, value) {
  unstored.delete(name);
  try {
    if (value) localStorage.setItem(name, value);
    else localStorage.removeItem(name);
  } catch {
    unstored.set(name, value);
  }
}

/** @param {string} text @returns {unknown} */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
