/** The settings: the key to the server, what the model is told first, how it draws its tokens, its tools. */

import { EXAMPLE_TOOLS } from "../chat/examples.js";
import { apiKey } from "../chat/preferences.js";
import { BOUNDS, DEFAULTS, complaint } from "../chat/settings.js";
import { drawers } from "./drawers.js";
import { byId, element, iconButton } from "./dom.js";

const NUMBERS = {
  temperature: ["Temperature", "0 always takes the likeliest token."],
  topP: ["Top p", "Only tokens that together reach this."],
  maxTokens: ["Most tokens", "Of one answer.", "no limit"],
  seed: ["Seed", "The same seed, the same draw.", "random"],
  thinkingBudget: ["Thinking budget", "Tokens after which a thought is closed.", "no limit"],
};
const FORMATS = { text: "Text", json: "JSON object", schema: "JSON by a schema" };

/** Keeps the form and a session's settings in step. */
export class Panel {
  #session;
  /** Offered where it replaces nothing. */
  #example;
  #serverTools = element("p", { class: "server-tools", hidden: true });
  #key = element("input", { class: "input", type: "password", autocomplete: "off", placeholder: "none" });
  /** @type {Map<string, {field: HTMLInputElement, note: HTMLElement, hint: string}>} */
  #fields = new Map();

  /** @param {import("../chat/session.js").Session} session @param {(key: string) => void} onkey called when another API key was entered */
  constructor(session, onkey) {
    this.#session = session;
    const head = element("div", { class: "panel-head" }, element("h2", {}, "Settings"), iconButton("close", "Close settings", () => drawers.panel.close()));
    const form = element("form", { class: "settings", autocomplete: "off" }, ...this.#groups(onkey));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => this.#take());
    byId("panel").append(head, form);
    session.addEventListener("conversation", () => this.#show());
    session.addEventListener("settings", () => this.#show());
    this.#show();
    this.showKey();
  }

  /** Shows the key that was entered elsewhere. */
  showKey() {
    this.#key.value = apiKey.get();
  }

  /** @param {boolean} thinks whether a budget for thoughts means anything */
  setThinks(thinks) {
    this.#fields.get("thinkingBudget").field.closest(".field").hidden = !thinks;
  }

  /** @param {object[]} tools declarations of what the server runs */
  setServerTools(tools) {
    this.#serverTools.hidden = !tools.length;
    this.#serverTools.textContent = `The server runs: ${tools.map((tool) => tool.function.name).join(", ")}`;
  }

  #groups(onkey) {
    const number = (name) => this.#labelled(name, NUMBERS[name][0], NUMBERS[name][1], element("input", { class: "input", inputmode: "decimal", placeholder: NUMBERS[name][2] ?? "model’s own" }));
    const area = (rows, code) => element("textarea", { class: code ? "input code" : "input", rows, spellcheck: code ? "false" : null });
    const format = element("select", { class: "input" }, ...Object.entries(FORMATS).map(([value, label]) => element("option", { value }, label)));
    return [
      group("Conversation", this.#labelled("system", "System prompt", "What the model is told before all else.", area(4, false))),
      group("Sampling", pair(number("temperature"), number("topP")), pair(number("maxTokens"), number("seed")), number("thinkingBudget")),
      group("Answer format", this.#labelled("format", "Format", "", format), this.#labelled("schema", "JSON schema", "", area(6, true))),
      group("Tools", this.#serverTools, this.#labelled("tools", "Declarations", "A JSON list as in OpenAI’s API. When the model calls one, you enter its result.", area(8, true)), this.#exampleButton()),
      group("Server", this.#keyField(onkey)),
    ];
  }

  #keyField(onkey) {
    this.#key.addEventListener("input", (event) => event.stopPropagation());
    this.#key.addEventListener("change", () => onkey(this.#key.value));
    return element("label", { class: "field" }, element("span", {}, "API key"), this.#key, element("small", {}, "Kept in this browser, sent to this server only."));
  }

  #labelled(name, label, hint, field) {
    const note = element("small", { id: `note-${name}` }, hint);
    field.setAttribute("aria-describedby", note.id);
    field.name = name;
    this.#fields.set(name, { field, note, hint });
    return element("label", { class: "field" }, element("span", {}, label), field, note);
  }

  #exampleButton() {
    const insert = () => this.#session.configure({ ...this.#session.conversation.settings, tools: EXAMPLE_TOOLS });
    this.#example = element("button", { class: "button", type: "button", onclick: insert }, "Insert an example");
    return this.#example;
  }

  #take() {
    const settings = Object.fromEntries(Object.keys(DEFAULTS).map((name) => [name, read(name, this.#fields.get(name).field)]));
    this.#session.configure(settings);
  }

  #show() {
    const { settings } = this.#session.conversation;
    for (const [name, { field }] of this.#fields) {
      if (field !== document.activeElement) field.value = Number.isNaN(settings[name]) ? "" : settings[name] ?? "";
    }
    this.#remark(settings);
  }

  #remark(settings) {
    for (const [name, { field, note, hint }] of this.#fields) {
      const wrong = complaint(settings, name);
      field.setAttribute("aria-invalid", String(wrong !== null));
      note.classList.toggle("wrong", wrong !== null);
      note.textContent = wrong ?? hint;
    }
    this.#fields.get("schema").field.closest(".field").hidden = settings.format !== "schema";
    this.#example.hidden = Boolean(settings.tools.trim());
  }
}

function read(name, field) {
  if (!(name in BOUNDS)) return field.value;
  return field.value.trim() === "" ? null : Number(field.value.trim().replace(",", "."));
}

function group(legend, ...content) {
  return element("fieldset", {}, element("legend", {}, legend), ...content);
}

function pair(...fields) {
  return element("div", { class: "pair" }, ...fields);
}
