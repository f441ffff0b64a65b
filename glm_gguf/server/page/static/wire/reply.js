/** An answer in the making: a fold over the chunks of its stream. */

/**
 * @typedef {{id: string, name: string, arguments: string}} Call
 * @typedef {object} Reply
 * @property {string} content
 * @property {string} reasoning
 * @property {Call[]} calls
 * @property {string | null} finish
 * @property {{prompt: number, completion: number} | null} usage
 * @property {number} pieces chunks that brought something: about as many as tokens
 * @property {number} askedAt milliseconds, as all times here
 * @property {number | null} firstAt
 * @property {number | null} thoughtAt when the thought began
 * @property {number | null} thoughtUntil when something else followed it
 * @property {number | null} lastAt
 */

/** @returns {Reply} an answer of which nothing has come */
export function emptyReply(now) {
  return {
    content: "", reasoning: "", calls: [], finish: null, usage: null, pieces: 0,
    askedAt: now, firstAt: null, thoughtAt: null, thoughtUntil: null, lastAt: null,
  };
}

/** Returns the answer with one chunk more. */
export function grown(reply, chunk, now) {
  const next = { ...reply, usage: counted(chunk.usage) ?? reply.usage };
  const choice = chunk.choices?.[0];
  if (!choice) return next;
  next.finish = choice.finish_reason ?? next.finish;
  const delta = choice.delta ?? {};
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

/** Seconds that the model has thought, up to now where it still does; null without a thought. */
export function thoughtSeconds(reply, now) {
  return reply.thoughtAt === null ? null : ((reply.thoughtUntil ?? now) - reply.thoughtAt) / 1000;
}

/** Tokens a second behind the first one; null where they came too few or at once, as calls do that were held back. */
export function tokenRate(reply) {
  const seconds = ((reply.lastAt ?? 0) - (reply.firstAt ?? 0)) / 1000;
  const tokens = reply.usage?.completion ?? reply.pieces;
  return seconds > 0.05 && reply.pieces > 2 ? (tokens - 1) / seconds : null;
}

function timed(reply, thinking, now) {
  const thoughtAt = reply.thoughtAt ?? (thinking ? now : null);
  const over = !thinking && thoughtAt !== null && reply.thoughtUntil === null;
  return { ...reply, firstAt: reply.firstAt ?? now, lastAt: now, thoughtAt, thoughtUntil: over ? now : reply.thoughtUntil };
}

function withCall(calls, delta) {
  const known = calls[delta.index] ?? { id: "", name: "", arguments: "" };
  const call = {
    id: delta.id || known.id,
    name: known.name + (delta.function?.name ?? ""),
    arguments: known.arguments + (delta.function?.arguments ?? ""),
  };
  return calls.toSpliced(delta.index, 1, call);
}

function counted(usage) {
  return usage ? { prompt: usage.prompt_tokens, completion: usage.completion_tokens } : null;
}
