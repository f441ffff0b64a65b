/** The thought before an answer: folded, with the time it took. */

import { StreamingMarkdown, showMarkdown } from "../markdown/streaming.js";
import { element, icon } from "./dom.js";

/**
 * Returns a finished thought.
 * @param {string} reasoning
 * @param {number | null} seconds
 * @param {boolean} open
 */
export function thoughtView(reasoning, seconds, open) {
  const prose = element("div", { class: "prose" });
  showMarkdown(prose, reasoning);
  const label = seconds === null ? "Thought" : `Thought for ${spoken(seconds)}`;
  return element("details", { class: "thought", open }, element("summary", {}, icon("right"), label), prose);
}

/** A thought that is being written. */
export class RunningThought {
  #label = element("span", {}, "Thinking…");
  #prose = element("div", { class: "prose" });
  #text = new StreamingMarkdown(this.#prose);
  element = element("details", { class: "thought running" }, element("summary", {}, icon("right"), this.#label), this.#prose);

  /**
   * Shows the thought so far.
   * @param {string} reasoning
   * @param {number} seconds
   * @param {boolean} over
   */
  show(reasoning, seconds, over) {
    this.element.classList.toggle("running", !over);
    this.#label.textContent = over ? `Thought for ${spoken(seconds)}` : `Thinking… ${spoken(seconds)}`;
    if (this.element.open) this.#text.show(reasoning);
  }
}

/** @param {number} seconds */
function spoken(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 60 ? `${Math.round(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
