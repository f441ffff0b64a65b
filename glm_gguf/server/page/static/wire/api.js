/** The server's routes that the page uses, all on its own origin. */

import { Problem, brokenOff, keyRefused, refusal, streamed, unreachable } from "./problem.js";
import { jsonEvents } from "./sse.js";

/**
 * @typedef {{id: string, contextSize: number | null, variant: string | null, tools: object[]}} Model what is not told is null
 *
 * @returns {Promise<Model>} the model that the server runs
 */
export async function fetchModel(key) {
  const response = await asked("v1/models", { headers: headers(key) });
  const model = (await response.json().catch(() => null))?.data?.[0];
  if (typeof model?.id !== "string") throw new Problem("The server names no model.", "See whether what answers here is glm-gguf serve; its log says more.", "retry");
  return { id: model.id, contextSize: model.context_length ?? null, variant: model.variant ?? null, tools: model.page_tools ?? [] };
}

/**
 * Yields the chunks of one streamed answer; throws Problem, or AbortError where `signal` stopped it.
 * @param {object} body of /v1/chat/completions
 * @param {string} key
 * @param {AbortSignal} signal
 */
export async function* answerChunks(body, key, signal) {
  const post = { method: "POST", headers: headers(key), body: JSON.stringify(body), signal };
  const response = await asked("v1/chat/completions", post);
  let finished = false;
  try {
    for await (const chunk of jsonEvents(response.body)) {
      if (chunk.error) throw streamed(chunk.error);
      finished ||= chunk.choices?.some((choice) => choice.finish_reason) ?? false;
      yield chunk;
    }
  } catch (error) {
    throw error instanceof Problem || error.name === "AbortError" ? error : brokenOff();
  }
  if (!finished) throw brokenOff();
}

/** Has the server run a call of one of its functions; returns the result's text. */
export async function runCall({ name, arguments: given }, key) {
  const response = await asked("page-tools", { method: "POST", headers: headers(key), body: JSON.stringify({ name, arguments: given }) });
  return (await response.json()).content;
}

/** Whether a model opens its answers with a thought; as far as one knows, it does. */
export function thinks(model) {
  return !["chat", "base"].includes(model.variant);
}

async function asked(path, options) {
  if (/[^\0-\xff]/.test(options.headers.Authorization)) throw keyRefused(); // no header carries such letters
  let response;
  try {
    response = await fetch(path, { ...options, credentials: "omit", cache: "no-store", redirect: "error" });
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable();
  }
  if (!response.ok) throw await refusal(response, "Authorization" in options.headers);
  return response;
}

function headers(key) {
  const common = { "Content-Type": "application/json" };
  return key ? { ...common, Authorization: `Bearer ${key}` } : common;
}
