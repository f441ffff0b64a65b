/** What can go wrong between the page and the server, in words that say what to do. */

/** An error to show: `message` says what happened, `advice` what to do; `action` names a button. */
export class Problem extends Error {
  /**
   * @param {string} message
   * @param {string} advice
   * @param {"settings" | "retry" | "key" | null} action `key` asks for one in the notice itself
   * @param {string | null} code the server's, where it gave one
   */
  constructor(message, advice, action = null, code = null) {
    super(message);
    this.advice = advice;
    this.action = action;
    this.code = code;
  }
}

/** Nobody answered at all. */
export function unreachable() {
  return new Problem("The server does not answer.", "See whether glm-gguf serve still runs, then try again.", "retry");
}

function keyWanted() {
  return new Problem("The server wants an API key.", "Enter the one it was started with.", "key");
}

/** The key is none of the server's. */
export function keyRefused() {
  return new Problem("This key was not accepted.", "Enter the one that the server was started with.", "key");
}

/** The stream ended before the answer did. */
export function brokenOff() {
  return new Problem("The connection broke off.", "What came so far is kept. See whether the server still runs, then retry.", "retry");
}

/**
 * Reads the refusal that a response is: OpenAI's error body, with Retry-After where the server is busy.
 * @param {Response} response
 * @param {boolean} hadKey whether the request brought an API key
 */
export async function refusal(response, hadKey) {
  if (response.status === 401) return hadKey ? keyRefused() : keyWanted();
  const error = await errorBody(response);
  return described(response.status, error, response.headers.get("Retry-After"));
}

/** An error that came inside a stream, as `{"error": {...}}`. */
export function streamed(error) {
  return described(error.type === "server_error" ? 500 : 400, error, null);
}

async function errorBody(response) {
  try {
    const body = await response.json();
    return typeof body.error === "string" ? { message: body.error } : body.error ?? {};
  } catch {
    return {};
  }
}

function described(status, error, retryAfter) {
  const said = String(error.message ?? "");
  if (status === 429) {
    const when = /^\d+$/.test(retryAfter ?? "") ? `in ${retryAfter} s` : "in a moment";
    return new Problem("The server is busy.", `Too many answers are being written. Try again ${when}.`, "retry");
  }
  const unready = error.code?.startsWith("model_") ? "The model is not ready." : "The server is not ready.";
  if (status === 503) return new Problem(unready, said || "Try again in a moment.", "retry", error.code);
  if (isOverflow(status, error)) {
    const advice = "Edit an earlier message, ask for fewer tokens, or begin a new chat.";
    return new Problem("The conversation no longer fits the model’s context.", advice);
  }
  if (status >= 500) return new Problem("The server failed.", said || "Its log says why.", "retry");
  const where = error.param ? ` (${error.param})` : "";
  return new Problem("The server refused the request.", `${said || `Status ${status}.`}${where}`);
}

function isOverflow(status, error) {
  return (status === 400 || status === 413) && error.code === "context_length_exceeded";
}
