/** What goes to the model beside the messages, named where one writes: it shows why answers are as they are. */

import { byId } from "./dom.js";

/** Keeps the sign in step with the settings and with what the server runs. */
export class Sign {
  #session;
  #sign = byId("sign");

  /** @param {import("../chat/session.js").Session} session @param {() => void} onclick */
  constructor(session, onclick) {
    this.#session = session;
    this.#sign.addEventListener("click", onclick);
    for (const change of ["conversation", "settings"]) session.addEventListener(change, () => this.draw());
    this.draw();
  }

  draw() {
    const { conversation, serverTools } = this.#session;
    const { system, tools, format } = conversation.settings;
    const set = [system.trim() && "System prompt", (tools.trim() || serverTools.length) && "Tools", format !== "text" && "JSON"].filter(Boolean);
    this.#sign.hidden = !set.length;
    this.#sign.textContent = set.join(" · ");
  }
}
