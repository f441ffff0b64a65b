/** The switch between light and dark; until it is used, the device decides. */

import { theme } from "../chat/preferences.js";
import { byId, icon } from "./dom.js";

const DARK = matchMedia("(prefers-color-scheme: dark)");

/** Makes the switch work. */
export function startThemeSwitch() {
  const button = byId("toggle-theme");
  button.addEventListener("click", () => {
    const chosen = isDark() ? "light" : "dark";
    theme.set(chosen);
    document.documentElement.dataset.theme = chosen;
    draw(button);
  });
  DARK.addEventListener("change", () => draw(button));
  draw(button);
}

function isDark() {
  return theme.get() ? theme.get() === "dark" : DARK.matches;
}

/** @param {HTMLElement} button */
function draw(button) {
  button.replaceChildren(icon(isDark() ? "sun" : "moon"));
  button.title = isDark() ? "Light colours" : "Dark colours";
  button.setAttribute("aria-label", button.title);
}
