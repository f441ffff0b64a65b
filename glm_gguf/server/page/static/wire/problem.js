/** What can go wrong between the page and the server, in words that say what to do. */

/**
 * @typedef {"settings" | "retry" | "key"} Action which button a notice offers; `key` asks for an API key in the notice itself
 * @typedef {{message?: string, type?: string, code?: string | null, param?: string | null}} ErrorBody as OpenAI's API has it
 */

/** An error to show: `message` says what happened, `advice` what to do. */
export class Problem extends Error {
  /**
   * @param {string} message
   * @param {string} advice
   * @param {Action | null} action
   * @param {string | null} code the server's, where it gave one
   */
  constructor(message, advice, action = null, code = null) {
    super(message);
    this.advice = advice;
    this.action = action;
    this.code = code;
  }
}

/** The request got no response. */
export function unreachable() {
  return new Problem("The server does not answer.", "Check that glm-gguf serve is running, then try again.", "retry");
}

function keyMissing() {
  return new Problem("The server wants an API key.", "Enter the one it was started with.", "key");
}

/** The server does not know the key. */
export function keyRefused() {
  return new Problem("This key was not accepted.", "Enter the one that the server was started with.", "key");
}

/** The stream ended before the answer did. */
export function brokenOff() {
  return new Problem("The connection broke off.", "What came so far is kept. Check that the server is running, then retry.", "retry");
}

/**
 * Returns the problem that a response with an error status tells: OpenAI's error body, and Retry-After where the server is busy.
 * @param {Response} response
 * @param {boolean} hadKey whether the request carried an API key
 */
export async function problemOfResponse(response, hadKey) {
  if (response.status === 401) return hadKey ? keyRefused() : keyMissing();
  return described(response.status, await errorBody(response), response.headers.get("Retry-After"));
}

/**
 * Returns the problem of an error that a stream carries, as `{"error": {...}}`.
 * @param {ErrorBody} error
 */
export function problemOfChunk(error) {
  return described(error.type === "server_error" ? 500 : 400, error, null);
}

/**
 * @param {Response} response
 * @returns {Promise<ErrorBody>} empty where the body is of another form
 */
async function errorBody(response) {
  try {
    const body = await response.json();
    return typeof body.error === "string" ? { message: body.error } : body.error ?? {};
  } catch {
    return {};
  }
}

/** @param {number} status @param {ErrorBody} error @param {string | null} retryAfter */
function described(status, error, retryAfter) {
  const said = String(error.message ?? "");
  if (status === 429) {
    const when = retryAfter !== null && /^\d+$/.test(retryAfter) ? `in ${retryAfter} s` : "in a moment";
    return new Problem("The server is busy.", `Too many answers are being written. Try again ${when}.`, "retry");
  }
  const unready = error.code?.startsWith("model_") ? "The model is not ready." : "The server is not ready.";
  if (status === 503) return new Problem(unready, said || "Try again in a moment.", "retry", error.code ?? null);
  if (isOverflow(status, error)) {
    const advice = "Edit an earlier message, ask for fewer tokens, or begin a new chat.";
    return new Problem("The conversation no longer fits the model’s context.", advice);
  }
  if (status >= 500) return new Problem("The server failed.", said || "Its log says why.", "retry");
  if (error.code === "answer_gone") return new Problem("The answer is gone.", said, "retry");
  const where = error.param ? ` (${error.param})` : "";
  return new Problem("The server refused the request.", `${said || `Status ${status}.`}${where}`);
}

/** @param {number} status @param {ErrorBody} error */
function isOverflow(status, error) {
  return (status === 400 || status === 413) && error.code === "context_length_exceeded";
}
