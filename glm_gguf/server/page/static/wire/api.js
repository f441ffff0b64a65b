/** The server's routes that the page uses, all on its own origin. */

import { Problem, brokenOff, keyRefused, problemOfChunk, problemOfResponse, unreachable } from "./problem.js";
import { NUMBER_FIELDS } from "./request.js";
import { jsonEvents } from "./sse.js";

/**
 * @typedef {object} Model what the server does not tell is null
 * @property {string} id
 * @property {number | null} contextSize in tokens
 * @property {string | null} variant
 * @property {string | null} state asleep, loading, ready, degraded or failed
 * @property {import("../chat/settings.js").Declaration[]} tools functions that the server runs
 * @property {import("../chat/settings.js").Server[]} servers MCP servers that it runs
 * @property {boolean} researches
 */

/**
 * Returns the models of the server, at least one.
 * @param {string} key
 * @returns {Promise<Model[]>}
 */
export async function fetchModels(key) {
  const response = await fetched("v1/models", key);
  const told = (await response.json().catch(() => null))?.data;
  const models = Array.isArray(told) ? told.filter((model) => typeof model?.id === "string") : [];
  if (!models.length) throw new Problem("The server names no model.", "Check that glm-gguf serve answers at this address; its log says more.", "retry");
  return models.map((model) => ({
    id: model.id, contextSize: model.context_length ?? null, variant: model.variant ?? null, state: model.state ?? null,
    tools: model.page_tools ?? [], servers: model.page_servers ?? [], researches: model.page_research === true,
  }));
}

/**
 * Returns the bounds of the numbers that a request may have, as the server's description of its API says. A number
 * without bounds there has none here: the server refuses what it does not take.
 * @param {string} key
 */
export async function fetchBounds(key) {
  /** @type {import("../chat/settings.js").ServerBounds} */
  const bounds = {};
  const properties = (await description(key))?.components?.schemas?.ChatCompletionRequest?.properties;
  for (const [field, name] of NUMBER_FIELDS) {
    /** @type {{type: string, minimum?: number, maximum?: number}[]} */
    const types = properties?.[field]?.anyOf ?? [];
    const number = types.find(({ type }) => type === "number" || type === "integer");
    if (number) bounds[name] = { minimum: number.minimum ?? -Infinity, maximum: number.maximum ?? Infinity, whole: number.type === "integer" };
  }
  return bounds;
}

/**
 * Returns the OpenAPI description, or null where something before the server does not let it through.
 * @param {string} key
 */
async function description(key) {
  try {
    return await (await fetched("openapi.json", key)).json();
  } catch (error) {
    if (!(error instanceof Problem) && !(error instanceof SyntaxError)) throw error;
    return null;
  }
}

/**
 * Yields the chunks of one streamed answer, which goes on at the server while the page is reloaded; throws Problem, or
 * AbortError where `signal` stopped it.
 * @param {string} id of the answer, 128 random bits
 * @param {object | null} body of /v1/chat/completions, with `research` for one that is researched; null for an answer that was begun before, from its beginning
 * @param {string} key
 * @param {AbortSignal} signal
 */
export async function* answerChunks(id, body, key, signal) {
  const path = `page-answers/${id}`;
  signal.addEventListener("abort", () => stopAnswer(path, key), { once: true });
  const { research = false, ...sent } = /** @type {Record<string, unknown>} */ (body ?? {});
  const begun = research ? `page-research/${id}` : path;
  const response = await fetched(body ? begun : path, key, body ? { method: "POST", body: JSON.stringify(sent), signal } : { signal });
  if (!response.body) throw brokenOff();
  let finished = false;
  try {
    for await (const event of jsonEvents(response.body)) {
      const chunk = /** @type {import("./partial_answer.js").Chunk} */ (event);
      if (chunk.error) throw problemOfChunk(chunk.error);
      finished ||= chunk.choices?.some((choice) => choice.finish_reason) ?? false;
      yield chunk;
    }
  } catch (error) {
    throw error instanceof Problem || isAbort(error) ? error : brokenOff();
  }
  if (!finished) throw brokenOff();
}

/** @param {string} path of an answer that nobody wants any more @param {string} key */
async function stopAnswer(path, key) {
  try {
    await fetched(path, key, { method: "DELETE", keepalive: true });
  } catch (error) {
    if (!(error instanceof Problem)) throw error; // a server that is gone has stopped it
  }
}

/**
 * Has the server run a call of one of its functions.
 * @param {import("./partial_answer.js").Call} call
 * @param {string} key
 * @returns {Promise<string>} the result's text
 */
export async function runCall({ name, arguments: given }, key) {
  const response = await fetched("page-tools", key, { method: "POST", body: JSON.stringify({ name, arguments: given }) });
  const content = (await response.json().catch(() => null))?.content;
  if (typeof content !== "string") throw brokenOff();
  return content;
}

/**
 * Says whether a model opens its answers with a thought; one of an unknown variant may.
 * @param {Model} model
 */
export function thinks(model) {
  return model.variant === null || !["chat", "chat-2024", "base"].includes(model.variant);
}

/**
 * Says whether an error is the one of a request that its AbortSignal stopped.
 * @param {unknown} error
 */
export function isAbort(error) {
  return error instanceof Error && error.name === "AbortError";
}

/** @param {string} path @param {string} key @param {RequestInit} options */
async function fetched(path, key, options = {}) {
  if (/[^\0-\xff]/.test(key)) throw keyRefused(); // no header carries such letters
  const headers = { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store", redirect: "error" });
  } catch (error) {
    throw isAbort(error) ? error : unreachable();
  }
  if (!response.ok) throw await problemOfResponse(response, key !== "");
  return response;
}
