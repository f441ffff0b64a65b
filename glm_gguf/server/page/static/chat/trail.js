/** The trail of a research: what was searched and opened, and the sources of the report. */

import { InvalidError, isRecord } from "./sound.js";

/**
 * @typedef {{title: string, address: string}} Hit
 * @typedef {{number: number, title: string, address: string}} Source
 *
 * @typedef {{kind: "search", query: string, hits: Hit[]}} SearchStep
 * @typedef {{kind: "page", title: string, address: string, part: number, parts: number}} PageStep
 * @typedef {{kind: "failed", error: string}} FailedStep
 * @typedef {{kind: "note", text: string}} NoteStep what the model said before a call
 * @typedef {{kind: "report", endedBy: string}} ReportStep the report begins
 * @typedef {{kind: "sources", sources: Source[]}} SourcesStep the pages that were opened
 * @typedef {SearchStep | PageStep | FailedStep | NoteStep | ReportStep | SourcesStep} Step
 */

/** Why a report was written. @type {Record<string, string>} */
export const ENDINGS = {
  finish: "The model has found enough.",
  answer: "The model answered without a call.",
  turns: "The turns are used up.",
  tokens: "The tokens are used up.",
  seconds: "The time is used up.",
  repeats: "The last turns found nothing new.",
  context: "The context is full.",
  search: "One search was asked for.",
};

/**
 * Returns the sources of a report; none before it is written.
 * @param {Step[]} trail
 */
export function sourcesOf(trail) {
  return trail.flatMap((step) => (step.kind === "sources" ? step.sources : []));
}

/**
 * Says in a line what a research has done.
 * @param {Step[]} trail
 */
export function summaryOf(trail) {
  const count = (/** @type {Step["kind"]} */ kind) => trail.filter((step) => step.kind === kind).length;
  return `${counted(count("search"), "search", "searches")}, ${counted(count("page"), "page", "pages")}`;
}

/**
 * Returns a report with its question and its sources as Markdown.
 * @param {string} question
 * @param {string} report
 * @param {Step[]} trail
 */
export function reportMarkdown(question, report, trail) {
  const sources = sourcesOf(trail).map(({ number, title, address }) => `${number}. ${title}: ${address}`);
  const asked = question.split("\n").map((line) => `> ${line}`.trimEnd()).join("\n");
  return [asked, report.trim(), ...(sources.length ? ["## Sources", sources.join("\n")] : [])].join("\n\n") + "\n";
}

/**
 * Returns a trail of any origin; throws InvalidError.
 * @param {unknown} value
 * @param {string} where names it in errors
 * @returns {Step[]}
 */
export function validTrail(value, where) {
  const steps = value ?? [];
  if (!Array.isArray(steps) || !steps.every(isStep)) throw new InvalidError(`${where} has an invalid trail of a research.`);
  return steps;
}

/** @param {unknown} step */
function isStep(step) {
  if (!isRecord(step)) return false;
  const texts = (/** @type {string[]} */ ...names) => names.every((name) => typeof step[name] === "string");
  const all = (/** @type {unknown} */ list, /** @type {(one: Record<string, unknown>) => boolean} */ sound) => Array.isArray(list) && list.every((one) => isRecord(one) && sound(one));
  const named = (/** @type {Record<string, unknown>} */ one) => typeof one.title === "string" && typeof one.address === "string";
  switch (step.kind) {
    case "search": return texts("query") && all(step.hits, named);
    case "page": return texts("title", "address") && Number.isInteger(step.part) && Number.isInteger(step.parts);
    case "failed": return texts("error");
    case "note": return texts("text");
    case "report": return texts("endedBy");
    case "sources": return all(step.sources, (one) => named(one) && Number.isInteger(one.number));
    default: return false;
  }
}

/** @param {number} count @param {string} one @param {string} several */
function counted(count, one, several) {
  return `${count} ${count === 1 ? one : several}`;
}
