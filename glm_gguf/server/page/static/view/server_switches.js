/** Checkboxes by which a conversation may use the tools of the MCP servers that the server runs. */

import { switchedOn } from "../chat/settings.js";
import { element } from "./dom.js";

export class ServerSwitches {
  /** Holds the names that are on, a line each; a form reads it like any other field. */
  input = element("input", { type: "hidden", name: "servers" });
  note = element("small", { id: "note-servers" });
  #list = element("div", { class: "switches" });
  label = element("div", { class: "field", role: "group", "aria-label": "MCP servers", hidden: true }, element("span", {}, "MCP servers"), this.#list, this.note);

  /** @param {import("../chat/settings.js").Server[]} servers */
  setServers(servers) {
    this.label.hidden = !servers.length;
    this.#list.replaceChildren(...servers.map((server) => this.#switch(server)));
    this.draw();
  }

  /** Shows what is on. */
  draw() {
    const on = switchedOn(this.input.value);
    for (const box of this.#boxes()) box.checked = on.includes(box.value);
  }

  /** @param {import("../chat/settings.js").Server} server */
  #switch({ name, tools }) {
    const box = element("input", { type: "checkbox", value: name });
    box.addEventListener("input", () => {
      this.input.value = this.#boxes().filter(({ checked }) => checked).map(({ value }) => value).join("\n");
    });
    const names = tools.map((tool) => tool.function.name).join(", ");
    return element("label", { title: names }, box, `${name} (${tools.length} ${tools.length === 1 ? "tool" : "tools"})`);
  }

  #boxes() {
    return [...this.#list.querySelectorAll("input")];
  }
}
