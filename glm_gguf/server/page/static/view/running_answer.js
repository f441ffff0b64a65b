/** The answer that is being written: drawn at most once a frame. */

import { GrowingMarkdown } from "../markdown/growing.js";
import { thoughtSeconds } from "../wire/reply.js";
import { callsList } from "./calls.js";
import { element } from "./dom.js";
import { RunningThought } from "./thought.js";

/** Shows one run of a session. */
export class RunningAnswer {
  #run;
  #thought = new RunningThought();
  #prose = element("div", { class: "prose" });
  #text = new GrowingMarkdown(this.#prose);
  #calls = element("div");
  #waiting = element("span", { class: "waiting", role: "img", "aria-label": "The model is writing" }, element("i"), element("i"), element("i"));
  #frame = 0;
  element = element("li", { class: "message assistant", "aria-busy": true }, element("h2", { class: "visually-hidden" }, "Model"), this.#waiting);

  /** @param {import("../chat/session.js").Run} run @param {() => void} ondrawn called behind every drawing */
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

  /** Draws with the next frame, together with all that comes before it. */
  changed() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw(this.#run.reply);
      this.ondrawn();
    });
  }

  #draw(reply) {
    const now = performance.now();
    if (reply.reasoning) {
      this.#place(this.#thought.element);
      this.#thought.show(reply.reasoning, thoughtSeconds(reply, now), reply.thoughtUntil !== null);
    }
    if (reply.content) {
      this.#place(this.#prose);
      this.#text.show(reply.content);
    }
    if (reply.calls.length) {
      this.#place(this.#calls);
      this.#calls.replaceChildren(callsList(reply.calls));
    }
    this.#waiting.hidden = Boolean(reply.content || reply.calls.length);
  }

  #place(part) {
    if (!part.isConnected) this.#waiting.before(part);
  }
}
