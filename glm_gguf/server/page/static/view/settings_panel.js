/** The settings: the API key, the system prompt, sampling, the answer's format, and tools. */

import { EXAMPLE_TOOLS } from "../chat/examples.js";
import { apiKey } from "../chat/preferences.js";
import { complaint } from "../chat/settings.js";
import { drawers } from "./drawers.js";
import { byId, element, iconButton } from "./dom.js";
import { ServerSwitches } from "./server_switches.js";

/**
 * @typedef {import("../chat/settings.js").NumberName} NumberName
 * @typedef {import("../chat/settings.js").Settings} Settings
 * @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Input
 * @typedef {{input: Input, note: HTMLElement, hint: string, label: HTMLElement}} Field
 */

/** @type {Record<NumberName, {label: string, hint: string, empty: string}>} */
const NUMBERS = {
  temperature: { label: "Temperature", hint: "0 always takes the most likely token.", empty: "model’s default" },
  topP: { label: "Top p", hint: "Only the most likely tokens, up to this total probability.", empty: "model’s default" },
  maxTokens: { label: "Maximum tokens", hint: "In one answer.", empty: "no limit" },
  seed: { label: "Seed", hint: "The same seed repeats an answer.", empty: "random" },
  thinkingBudget: { label: "Thinking budget", hint: "Tokens in one thought, at most.", empty: "no limit" },
};
const FORMATS = { text: "Text", json: "JSON object", schema: "JSON with a schema" };

/** Shows a session's settings in a form, and takes over what the user enters. */
export class SettingsPanel {
  #session;
  #example = element("button", { class: "button", type: "button" }, "Insert an example");
  #serverTools = element("p", { class: "server-tools", hidden: true });
  #switches = new ServerSwitches();
  #key = element("input", { class: "input", type: "password", autocomplete: "off", placeholder: "none" });
  /** @type {Map<keyof Settings, Field>} */
  #fields = new Map();

  /** @param {import("../chat/session.js").Session} session @param {(key: string) => void} onkey called when the user has entered another API key */
  constructor(session, onkey) {
    this.#session = session;
    this.#example.addEventListener("click", () => session.configure({ ...session.conversation.settings, tools: EXAMPLE_TOOLS }));
    const head = element("div", { class: "panel-head" }, element("h2", {}, "Settings"), iconButton("close", "Close settings", () => drawers.panel.close()));
    const form = element("form", { class: "settings", autocomplete: "off" }, ...this.#groups(onkey));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => session.configure(this.#entered()));
    byId("panel").append(head, form);
    session.on("conversation", () => this.#draw());
    session.on("settings", () => this.#draw());
    this.#draw();
    this.showKey();
  }

  /** Shows the key that the user entered elsewhere. */
  showKey() {
    this.#key.value = apiKey.get();
  }

  /** @param {boolean} thinks whether the model has a use for a budget of thoughts */
  setThinks(thinks) {
    this.#field("thinkingBudget").label.hidden = !thinks;
  }

  /**
   * @param {import("../chat/settings.js").Declaration[]} tools functions that the server runs
   * @param {import("../chat/settings.js").Server[]} servers MCP servers that it runs
   */
  setServerTools(tools, servers) {
    this.#switches.setServers(servers);
    this.#serverTools.hidden = !tools.length;
    this.#serverTools.textContent = `The server runs: ${tools.map((tool) => tool.function.name).join(", ")}`;
  }

  /** @param {(key: string) => void} onkey */
  #groups(onkey) {
    const format = element("select", { class: "input" }, ...Object.entries(FORMATS).map(([value, label]) => element("option", { value }, label)));
    const system = this.#labelled("system", "System prompt", "The model reads it before the conversation.", area(4, false));
    const tools = this.#labelled("tools", "Declarations", "Your own functions, a JSON list as in OpenAI’s API. You enter the results of their calls.", area(8, true));
    const { input, note, label } = this.#switches;
    this.#fields.set("servers", { input, note, hint: "Their tools run on the server, without a question.", label });
    return [
      group("Conversation", system),
      group("Sampling", pair(this.#number("temperature"), this.#number("topP")), pair(this.#number("maxTokens"), this.#number("seed")), this.#number("thinkingBudget")),
      group("Answer format", this.#labelled("format", "Format", "", format), this.#labelled("schema", "JSON schema", "", area(6, true))),
      group("Tools", this.#serverTools, label, tools, this.#example),
      group("Server", this.#keyField(onkey)),
    ];
  }

  /** @param {(key: string) => void} onkey */
  #keyField(onkey) {
    this.#key.addEventListener("input", (event) => event.stopPropagation());
    this.#key.addEventListener("change", () => onkey(this.#key.value));
    return element("label", { class: "field" }, element("span", {}, "API key"), this.#key, element("small", {}, "Kept in this browser, sent to this server only."));
  }

  /** @param {NumberName} name */
  #number(name) {
    const { label, hint, empty } = NUMBERS[name];
    return this.#labelled(name, label, hint, element("input", { class: "input", inputmode: "decimal", placeholder: empty }));
  }

  /** @param {keyof Settings} name @param {string} text @param {string} hint @param {Input} input */
  #labelled(name, text, hint, input) {
    const note = element("small", { id: `note-${name}` }, hint);
    input.setAttribute("aria-describedby", note.id);
    input.name = name;
    const label = element("label", { class: "field" }, element("span", {}, text), input, note);
    this.#fields.set(name, { input, note, hint, label });
    return label;
  }

  /** @param {keyof Settings} name */
  #field(name) {
    const field = this.#fields.get(name);
    if (!field) throw new Error(`the panel has no field ${name}`);
    return field;
  }

  /** @returns {Settings} */
  #entered() {
    const text = (/** @type {keyof Settings} */ name) => this.#field(name).input.value;
    const number = (/** @type {NumberName} */ name) => numberOf(text(name));
    const { research, oneSearch } = this.#session.conversation.settings;
    return {
      research, oneSearch, system: text("system"), format: formatOf(text("format")), schema: text("schema"), tools: text("tools"), servers: text("servers"),
      temperature: number("temperature"), topP: number("topP"), maxTokens: number("maxTokens"), seed: number("seed"), thinkingBudget: number("thinkingBudget"),
    };
  }

  #draw() {
    const { settings } = this.#session.conversation;
    for (const name of this.#fields.keys()) {
      const { input, note, hint } = this.#field(name);
      if (input !== document.activeElement) input.value = Number.isNaN(settings[name]) ? "" : String(settings[name] ?? "");
      const wrong = complaint(settings, name, this.#session.bounds);
      input.setAttribute("aria-invalid", String(wrong !== null));
      note.classList.toggle("wrong", wrong !== null);
      note.textContent = wrong ?? hint;
    }
    this.#switches.draw();
    this.#field("schema").label.hidden = settings.format !== "schema";
    this.#example.hidden = Boolean(settings.tools.trim()); // it would replace them
  }
}

/**
 * Returns the number that a text says, with a point or a comma; null for none, NaN for anything else.
 * @param {string} text
 */
function numberOf(text) {
  return text.trim() === "" ? null : Number(text.trim().replace(",", "."));
}

/** @param {string} text */
function formatOf(text) {
  return text === "json" || text === "schema" ? text : "text";
}

/** @param {number} rows @param {boolean} code */
function area(rows, code) {
  return element("textarea", { class: code ? "input code" : "input", rows, spellcheck: code ? "false" : null });
}

/** @param {string} legend @param {...HTMLElement} content */
function group(legend, ...content) {
  return element("fieldset", {}, element("legend", {}, legend), ...content);
}

/** @param {...HTMLElement} fields */
function pair(...fields) {
  return element("div", { class: "pair" }, ...fields);
}
