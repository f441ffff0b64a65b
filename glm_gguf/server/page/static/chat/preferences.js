/** What the page remembers beside conversations: the API key, the colours, and the settings used last. */

import { settingsFrom } from "./settings.js";

/** The key to the server, "" for none. It goes to the server's own origin only. */
export const apiKey = {
  get: () => read("api-key"),
  set: (key) => store("api-key", key.trim()),
};

/** "light", "dark", or "" to follow the device. */
export const theme = {
  get: () => read("theme"),
  set: (name) => store("theme", name),
};

/** The settings that a new conversation begins with. */
export const lastSettings = {
  get: () => settingsFrom(parsed(read("settings"))),
  set: (settings) => store("settings", JSON.stringify(settings)),
};

/** What the browser would not keep: it holds until the page is left. */
const passing = new Map();

function read(name) {
  try {
    return passing.get(name) ?? localStorage.getItem(name) ?? "";
  } catch {
    return "";
  }
}

function store(name, value) {
  passing.delete(name);
  try {
    if (value) localStorage.setItem(name, value);
    else localStorage.removeItem(name);
  } catch {
    passing.set(name, value);
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
