/** The button by which the next questions of a conversation are researched; hidden where the server has no sources. */

import { byId, icon } from "./dom.js";

export class ResearchSwitch {
  #session;
  #button = byId("research", HTMLButtonElement);

  /** @param {import("../chat/session.js").Session} session */
  constructor(session) {
    this.#session = session;
    this.#button.prepend(icon("search"));
    this.#button.addEventListener("click", () => {
      const { settings } = session.conversation;
      session.configure({ ...settings, research: !settings.research });
    });
    for (const change of /** @type {const} */ (["conversation", "settings"])) session.on(change, () => this.draw());
    this.draw();
  }

  /** Shows whether it is on. */
  draw() {
    const { conversation, researches } = this.#session;
    this.#button.hidden = !researches;
    this.#button.setAttribute("aria-pressed", String(conversation.settings.research));
    byId("draft").setAttribute("placeholder", researches && conversation.settings.research ? "Ask a question to research" : "Message the model");
  }
}
