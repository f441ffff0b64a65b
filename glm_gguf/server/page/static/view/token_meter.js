/** How many tokens a second the model writes, and how many of its context are in use. */

import { contextTokens } from "../chat/conversation.js";
import { tokenRate } from "../wire/partial_answer.js";
import { byId } from "./dom.js";

const HINT = "Enter sends, Shift+Enter breaks the line";
const NEARLY_FULL = 0.85;

/** Shows both below the message box. */
export class TokenMeter {
  #session;
  /** @type {number | null} */
  #contextSize = null;

  /** @param {import("../chat/session.js").Session} session */
  constructor(session) {
    this.#session = session;
    session.on("conversation", () => this.#draw());
    session.on("chunk", () => this.#drawFacts());
    this.#draw();
  }

  /** @param {number | null} tokens that the model's context holds */
  setContextSize(tokens) {
    this.#contextSize = tokens;
    this.#draw();
  }

  #draw() {
    this.#drawFacts();
    const used = contextTokens(this.#session.conversation);
    byId("meter").hidden = used === null;
    if (used === null) return;
    const size = this.#contextSize;
    byId("meter-text").textContent = size ? `${grouped(used)} of ${grouped(size)} tokens` : `${grouped(used)} tokens`;
    const bar = byId("meter-bar", HTMLMeterElement);
    bar.hidden = size === null;
    bar.max = size ?? 1;
    bar.optimum = 0;
    bar.high = bar.max * NEARLY_FULL;
    bar.value = used;
  }

  #drawFacts() {
    const { run } = this.#session;
    const rate = run && tokenRate(run.answer);
    const begun = run?.answer.trail.length ? "" : "Waiting for the first token";
    const running = rate ? `${rate.toFixed(1)} tokens/s` : begun;
    const hint = this.#session.conversation.messages.length ? "" : HINT;
    byId("facts").textContent = run ? running : hint;
  }
}

/** @param {number} number */
function grouped(number) {
  return number.toLocaleString("en");
}
