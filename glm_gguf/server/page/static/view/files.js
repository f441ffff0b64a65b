/** Files that the page saves, and files that the user chooses. */

import { byId, element } from "./dom.js";

/**
 * Has the browser save a text as a file.
 * @param {string} name
 * @param {string} text
 * @param {string} type as in MIME
 */
export function save(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/**
 * Calls a listener with every file that the user chooses.
 * @param {(file: File) => void} onfile
 */
export function onChosenFile(onfile) {
  const input = byId("file", HTMLInputElement);
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    input.value = "";
    if (file) onfile(file);
  });
}

/** Opens the browser's dialog to choose a JSON file. */
export function chooseFile() {
  byId("file").click();
}

/**
 * Returns a text as the name of a file: letters and digits of any script, and hyphens.
 * @param {string} title
 * @param {string} ending
 */
export function fileName(title, ending) {
  const plain = title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 50);
  return `${plain || "conversation"}.${ending}`;
}
