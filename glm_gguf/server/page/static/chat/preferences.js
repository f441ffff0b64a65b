/** What the page remembers beside conversations: the API key, the colours, and the settings used last. */

import { settingsFrom } from "./settings.js";

/** The key to the server, "" for none. It goes to the server's own origin only. */
export const apiKey = {
  get: () => localStorage.getItem("api-key") ?? "",
  set: (key) => store("api-key", key.trim()),
};

/** "light", "dark", or "" to follow the device. */
export const theme = {
  get: () => localStorage.getItem("theme") ?? "",
  set: (name) => store("theme", name),
};

/** The settings that a new conversation begins with. */
export const lastSettings = {
  get: () => settingsFrom(parsed(localStorage.getItem("settings"))),
  set: (settings) => store("settings", JSON.stringify(settings)),
};

function store(name, value) {
  if (value) localStorage.setItem(name, value);
  else localStorage.removeItem(name);
}

function parsed(text) {
  try {
    return JSON.parse(text ?? "null");
  } catch {
    return null;
  }
}
