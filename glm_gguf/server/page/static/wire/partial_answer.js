/** An answer while it is being written: a fold over the chunks of its stream. */

/**
 * @typedef {{id: string, name: string, arguments: string}} Call
 * @typedef {{prompt: number, completion: number, drafted: number}} Usage in tokens; `drafted` of them came from drafts
 *
 * @typedef {object} CallDelta
 * @property {number} index
 * @property {string} [id]
 * @property {{name?: string, arguments?: string}} [function]
 *
 * @typedef {object} Chunk of /v1/chat/completions
 * @property {{delta?: {content?: string | null, reasoning_content?: string | null, tool_calls?: CallDelta[], research?: import("../chat/trail.js").Step | {kind: "turn", number: number}}, finish_reason?: string | null}[]} [choices]
 * @property {{prompt_tokens: number, completion_tokens: number, completion_tokens_details?: {accepted_prediction_tokens?: number}} | null} [usage]
 * @property {{total: number, processed: number} | null} [prompt_progress] in tokens
 * @property {import("./problem.js").ErrorBody} [error]
 *
 * @typedef {object} PartialAnswer
 * @property {string} content
 * @property {string} reasoning
 * @property {Call[]} calls
 * @property {import("../chat/trail.js").Step[]} trail of a research
 * @property {string | null} finish
 * @property {Usage | null} usage
 * @property {number | null} prefilled the computed part of the prompt, from 0 to 1, while a long one is computed
 * @property {number} pieces chunks that brought something: about as many as tokens
 * @property {number} askedAt milliseconds, as all times here
 * @property {number | null} firstAt
 * @property {number | null} thoughtAt when the thought began
 * @property {number | null} thoughtUntil when something else followed it
 * @property {number | null} lastAt
 */

/**
 * Returns an answer of which nothing has come.
 * @param {number} now
 * @returns {PartialAnswer}
 */
export function emptyAnswer(now) {
  return {
    content: "", reasoning: "", calls: [], trail: [], finish: null, usage: null, prefilled: null, pieces: 0,
    askedAt: now, firstAt: null, thoughtAt: null, thoughtUntil: null, lastAt: null,
  };
}

/**
 * Returns the answer with one chunk more.
 * @param {PartialAnswer} answer
 * @param {Chunk} chunk
 * @param {number} now
 * @returns {PartialAnswer}
 */
export function withChunk(answer, chunk, now) {
  const next = { ...answer, usage: usageOf(chunk) ?? answer.usage };
  if (chunk.prompt_progress) next.prefilled = chunk.prompt_progress.processed / chunk.prompt_progress.total;
  const choice = chunk.choices?.[0];
  if (!choice) return next;
  next.finish = choice.finish_reason ?? next.finish;
  const delta = choice.delta ?? {};
  if (delta.research) return withStep(next, delta.research);
  const calls = delta.tool_calls ?? [];
  if (!delta.content && !delta.reasoning_content && !calls.length) return next;
  return timed({
    ...next,
    content: next.content + (delta.content ?? ""),
    reasoning: next.reasoning + (delta.reasoning_content ?? ""),
    calls: calls.reduce(withCall, next.calls),
    pieces: next.pieces + 1,
  }, Boolean(delta.reasoning_content), now);
}

/**
 * @param {PartialAnswer} answer
 * @param {import("../chat/trail.js").Step | {kind: "turn", number: number}} step a turn begins a thought of its own
 * @returns {PartialAnswer}
 */
function withStep(answer, step) {
  if (step.kind === "turn") return { ...answer, prefilled: null, reasoning: answer.reasoning && `${answer.reasoning.trimEnd()}\n\n` };
  return { ...answer, trail: [...answer.trail, step] };
}

/**
 * Returns the seconds of the thought, up to now where it goes on; null without a thought.
 * @param {PartialAnswer} answer
 * @param {number} now
 */
export function thoughtSeconds(answer, now) {
  return answer.thoughtAt === null ? null : ((answer.thoughtUntil ?? now) - answer.thoughtAt) / 1000;
}

/**
 * Returns the tokens a second after the first one. It is null for few tokens, and for tokens that came at once, as those of a call may.
 * @param {PartialAnswer} answer
 */
export function tokenRate(answer) {
  const seconds = ((answer.lastAt ?? 0) - (answer.firstAt ?? 0)) / 1000;
  const tokens = answer.usage?.completion ?? answer.pieces;
  return seconds > 0.05 && answer.pieces > 2 ? (tokens - 1) / seconds : null;
}

/** @param {PartialAnswer} answer @param {boolean} thinking @param {number} now */
function timed(answer, thinking, now) {
  const thoughtAt = answer.thoughtAt ?? (thinking ? now : null);
  const over = !thinking && thoughtAt !== null && answer.thoughtUntil === null;
  return { ...answer, firstAt: answer.firstAt ?? now, lastAt: now, thoughtAt, thoughtUntil: over ? now : answer.thoughtUntil };
}

/** @param {Call[]} calls @param {CallDelta} delta */
function withCall(calls, delta) {
  const known = calls[delta.index] ?? { id: "", name: "", arguments: "" };
  const call = {
    id: delta.id || known.id,
    name: known.name + (delta.function?.name ?? ""),
    arguments: known.arguments + (delta.function?.arguments ?? ""),
  };
  return calls.toSpliced(delta.index, 1, call);
}

/** @param {Chunk} chunk */
function usageOf({ usage }) {
  if (!usage) return null;
  const drafted = usage.completion_tokens_details?.accepted_prediction_tokens ?? 0;
  return { prompt: usage.prompt_tokens, completion: usage.completion_tokens, drafted };
}
