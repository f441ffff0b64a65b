/** Which model answers: a name where the server has one, else a choice that says which are loaded. */

import { byId, element } from "./dom.js";

/** @typedef {import("../wire/api.js").Model} Model */

/** @type {Record<string, string>} by the model's state */
const STATES = { ready: "loaded", asleep: "not loaded", loading: "loading", degraded: "lost a worker", failed: "cannot be loaded" };

export class ModelSelect {
  #select = byId("model-select", HTMLSelectElement);

  /** @param {(id: string) => void} onchoose @param {() => void} onopen called before the choice is looked at: what is loaded may have changed */
  constructor(onchoose, onopen) {
    this.#select.addEventListener("change", () => onchoose(this.#select.value));
    this.#select.addEventListener("focus", onopen);
  }

  /** @param {Model[]} models @param {Model} chosen */
  draw(models, chosen) {
    const several = models.length > 1;
    byId("model-name").textContent = several ? "" : chosen.id;
    this.#select.hidden = !several;
    const texts = models.map(({ id, state }) => (state ? `${id} (${STATES[state] ?? state})` : id));
    if (this.#select.options.length !== models.length || models.some(({ id }, index) => this.#select.options[index].value !== id)) {
      this.#select.replaceChildren(...models.map(({ id }) => element("option", { value: id })));
    }
    texts.forEach((text, index) => { this.#select.options[index].textContent = text; }); // the open list stays as it is
    this.#select.value = chosen.id;
  }
}
