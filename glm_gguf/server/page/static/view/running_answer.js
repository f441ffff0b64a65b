/** The answer that is being written; it is drawn at most once a frame. */

import { StreamingMarkdown } from "../markdown/streaming.js";
import { thoughtSeconds } from "../wire/partial_answer.js";
import { callsList } from "./tool_calls.js";
import { element } from "./dom.js";
import { RunningThought } from "./thought.js";
import { RunningTrail } from "./trail.js";

export class RunningAnswer {
  #run;
  #thought = new RunningThought();
  #trail = new RunningTrail();
  #prose = element("div", { class: "prose" });
  #text = new StreamingMarkdown(this.#prose);
  #calls = element("div");
  #prefill = element("progress", { class: "prefill", max: 1, "aria-label": "The model reads the prompt" });
  #waiting = element("span", { class: "waiting", role: "img", "aria-label": "The model is writing" }, element("i"), element("i"), element("i"));
  #frame = 0;
  element = element("li", { class: "message assistant", "aria-busy": true }, element("h2", { class: "visually-hidden" }, "Model"), this.#prefill, this.#waiting);

  /** @param {import("../chat/run.js").Run} run @param {() => void} ondrawn called after every drawing */
  constructor(run, ondrawn) {
    this.#run = run;
    this.ondrawn = ondrawn;
    this.#thought.element.addEventListener("toggle", () => this.changed());
    this.changed();
  }

  get run() {
    return this.#run;
  }

  get thoughtOpen() {
    return this.#thought.element.open;
  }

  /** Draws with the next frame all that came until then. */
  changed() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw(this.#run.answer);
      this.ondrawn();
    });
  }

  /** @param {import("../wire/partial_answer.js").PartialAnswer} answer */
  #draw(answer) {
    const now = performance.now();
    if (answer.reasoning) {
      this.#place(this.#thought.element);
      this.#thought.show(answer.reasoning, thoughtSeconds(answer, now) ?? 0, answer.thoughtUntil !== null);
    }
    if (answer.trail.length) {
      this.#place(this.#trail.element);
      this.#trail.show(answer.trail);
    }
    if (answer.content) {
      this.#place(this.#prose);
      this.#text.show(answer.content);
    }
    if (answer.calls.length) {
      this.#place(this.#calls);
      this.#calls.replaceChildren(callsList(answer.calls));
    }
    this.#prefill.value = answer.prefilled ?? 0;
    this.#prefill.hidden = answer.prefilled === null || answer.firstAt !== null;
    this.#waiting.hidden = Boolean(answer.content || answer.calls.length);
  }

  /** @param {HTMLElement} part */
  #place(part) {
    if (!part.isConnected) this.#waiting.before(part);
  }
}
