/** Files that the browser hands over, and files that it is handed. */

import { byId, element } from "./dom.js";

/** Has the browser save a text as a file. */
export function save(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Lets the user choose a JSON file; calls `onfile` with it. */
export function onChosenFile(onfile) {
  const input = byId("file");
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = "";
    if (file) onfile(file);
  });
}

/** Opens the browser's window for that. */
export function chooseFile() {
  byId("file").click();
}

/** Returns a text as the name of a file: letters, digits and hyphens of any script. */
export function fileName(title, ending) {
  const plain = title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 50);
  return `${plain || "conversation"}.${ending}`;
}
