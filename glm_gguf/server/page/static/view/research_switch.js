/** The button by which the next questions of a conversation are researched, and how; hidden where the server has no sources. */

import { byId, icon } from "./dom.js";

export class ResearchSwitch {
  #session;
  #button = byId("research", HTMLButtonElement);
  #depth = byId("research-depth", HTMLSelectElement);

  /** @param {import("../chat/session.js").Session} session */
  constructor(session) {
    this.#session = session;
    this.#button.prepend(icon("search"));
    this.#button.addEventListener("click", () => {
      const { settings } = session.conversation;
      session.configure({ ...settings, research: !settings.research });
    });
    this.#depth.addEventListener("change", () => {
      session.configure({ ...session.conversation.settings, oneSearch: this.#depth.value === "one" });
    });
    for (const change of /** @type {const} */ (["conversation", "settings"])) session.on(change, () => this.draw());
    this.draw();
  }

  /** Shows whether it is on. */
  draw() {
    const { conversation, researches } = this.#session;
    this.#button.hidden = !researches;
    const { research, oneSearch } = conversation.settings;
    this.#button.setAttribute("aria-pressed", String(research));
    this.#depth.hidden = !researches || !research;
    this.#depth.value = oneSearch ? "one" : "many";
    byId("draft").setAttribute("placeholder", researches && research ? "Ask a question to research" : "Message the model");
  }
}
