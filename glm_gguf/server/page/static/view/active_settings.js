/** Names the settings that go to the model beside the messages, below the message box: they explain its answers. */

import { switchedOn } from "../chat/settings.js";
import { byId } from "./dom.js";

export class ActiveSettings {
  #session;
  #button = byId("active-settings", HTMLButtonElement);

  /** @param {import("../chat/session.js").Session} session @param {() => void} onclick */
  constructor(session, onclick) {
    this.#session = session;
    this.#button.addEventListener("click", onclick);
    for (const change of /** @type {const} */ (["conversation", "settings"])) session.on(change, () => this.draw());
    this.draw();
  }

  /** Shows what is set, and whether the server runs functions. */
  draw() {
    const { conversation, serverTools, servers } = this.#session;
    const { system, tools, format, servers: wanted } = conversation.settings;
    const on = switchedOn(wanted).filter((name) => servers.some((server) => server.name === name));
    const set = [system.trim() && "System prompt", (tools.trim() || serverTools.length || on.length) && "Tools", format !== "text" && "JSON"].filter(Boolean);
    this.#button.hidden = !set.length;
    this.#button.textContent = set.join(" · ");
  }
}
