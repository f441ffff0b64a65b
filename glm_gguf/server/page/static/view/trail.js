/** The trail of a research above its report, and the report's references below it. */

import { ENDINGS, sourcesOf, summaryOf } from "../chat/trail.js";
import { followable } from "../markdown/links.js";
import { element, icon } from "./dom.js";

/** @typedef {import("../chat/trail.js").Step} Step */

/** The most hits of a search that are named. */
const MOST_HITS = 10;

/**
 * Returns the trail of a finished research, folded.
 * @param {Step[]} trail
 */
export function trailView(trail) {
  return element("details", { class: "trail" }, element("summary", {}, icon("right"), `Researched: ${summaryOf(trail)}`), list(trail));
}

/** The trail of a research that goes on; its steps are shown as they are made. */
export class RunningTrail {
  #label = element("span");
  #steps = element("ol", { class: "steps", "aria-label": "Steps of the research" });
  element = element("details", { class: "trail running", open: true }, element("summary", {}, icon("right"), this.#label), this.#steps);

  /** @param {Step[]} trail begins with all steps that were shown before */
  show(trail) {
    const writing = trail.some(({ kind }) => kind === "report");
    this.element.classList.toggle("running", !writing);
    this.#label.textContent = `${writing ? "Writing the report" : "Researching"}… ${summaryOf(trail)}`;
    this.#steps.append(...trail.slice(this.#steps.childElementCount).map(item));
  }
}

/**
 * Returns the pages that a report rests on; null without any.
 * @param {Step[]} trail
 */
export function references(trail) {
  const sources = sourcesOf(trail);
  if (!sources.length) return null;
  const items = sources.map(({ number, title, address }) => element("li", { value: number }, place(title, address)));
  return element("section", { class: "references", "aria-label": "Sources" }, element("h3", {}, "Sources"), element("ol", {}, ...items));
}

/** @param {Step[]} trail */
function list(trail) {
  return element("ol", { class: "steps", "aria-label": "Steps of the research" }, ...trail.map(item));
}

/** @param {Step} step */
function item(step) {
  switch (step.kind) {
    case "search": return line("search", hits(step.hits), "Searched ", element("q", {}, step.query), `: ${step.hits.length || "no"} ${step.hits.length === 1 ? "hit" : "hits"}`);
    case "page": return line("frame", null, "Opened ", place(step.title, step.address), step.parts > 1 ? `, part ${step.part} of ${step.parts}` : "");
    case "failed": return line("close", null, element("span", { class: "bad" }, step.error));
    case "note": return line("reply", null, step.text);
    case "report": return line("pencil", null, ENDINGS[step.endedBy] ?? "The report was written.");
    default: return element("li", { hidden: true }); // the sources stand below the report
  }
}

/** @param {import("./dom.js").IconName} name @param {HTMLElement | null} below @param {...(HTMLElement | string)} text */
function line(name, below, ...text) {
  return element("li", {}, icon(name), element("div", {}, element("p", { dir: "auto" }, ...text), below));
}

/** @param {import("../chat/trail.js").Hit[]} found */
function hits(found) {
  if (!found.length) return null;
  const named = found.slice(0, MOST_HITS).map(({ title, address }) => element("li", {}, place(title, address)));
  return element("ul", {}, ...named);
}

/**
 * Returns a page's title, as a link where its address is one of the web.
 * @param {string} title
 * @param {string} address
 */
function place(title, address) {
  const href = followable(address);
  const shown = element("bdi", {}, title);
  if (!href) return element("span", { title: address }, shown, title === address ? null : element("small", {}, ` ${address}`));
  return element("a", { href, title: href, target: "_blank", rel: "noopener noreferrer nofollow" }, shown);
}
