/** A conversation and its settings as the body of /v1/chat/completions. */

/** @type {[string, import("../chat/settings.js").NumberName][]} the API's name → the setting's */
export const NUMBER_FIELDS = [
  ["temperature", "temperature"],
  ["top_p", "topP"],
  ["max_completion_tokens", "maxTokens"],
  ["thinking_budget", "thinkingBudget"],
  ["seed", "seed"],
];

/**
 * Returns the body that asks for the next message; what the settings leave open is left to the model's file.
 * @param {string} model
 * @param {import("../chat/conversation.js").Message[]} messages from the first one to the last
 * @param {import("../chat/settings.js").Settings} settings
 * @param {import("../chat/settings.js").Declaration[]} serverTools functions that the server runs; one in the settings replaces one of its name
 */
export function requestBody(model, messages, settings, serverTools) {
  /** @type {Record<string, unknown>} */
  const body = { model, messages: wireMessages(messages, settings.system), stream: true, stream_options: { include_usage: true }, return_progress: true };
  for (const [field, name] of NUMBER_FIELDS) {
    if (settings[name] !== null) body[field] = settings[name];
  }
  /** @type {import("../chat/settings.js").Declaration[]} */
  const own = JSON.parse(settings.tools || "[]");
  const names = own.map((tool) => tool.function.name);
  const tools = [...serverTools.filter((tool) => !names.includes(tool.function.name)), ...own];
  if (tools.length) body.tools = tools;
  const format = responseFormat(settings);
  if (format) body.response_format = format;
  return body;
}

/**
 * Returns the body that has the last message researched, or answered from one search; calls and results before it are left out, and so are tools and formats.
 * @param {string} model
 * @param {import("../chat/conversation.js").Message[]} messages from the first one to the last
 * @param {import("../chat/settings.js").Settings} settings
 */
export function researchBody(model, messages, settings) {
  const texts = messages.filter((message) => message.role === "user" || (message.role === "assistant" && message.content && !message.calls.length));
  const body = { ...requestBody(model, texts, { ...settings, format: "text", tools: "" }, []), research: true };
  return settings.oneSearch ? { ...body, web_search_options: {} } : body;
}

/** @param {import("../chat/conversation.js").Message[]} messages @param {string} system */
function wireMessages(messages, system) {
  const wired = messages.map(wireMessage);
  return system.trim() ? [{ role: "system", content: system }, ...wired] : wired;
}

/**
 * Thoughts are not sent back: the model's own template drops them.
 * @param {import("../chat/conversation.js").Message} message
 */
function wireMessage(message) {
  if (message.role === "tool") return { role: "tool", tool_call_id: message.callId, content: message.content };
  if (message.role === "user" || !message.calls.length) return { role: message.role, content: message.content };
  return { role: "assistant", content: message.content, tool_calls: message.calls.map(wireCall) };
}

/** @param {import("./partial_answer.js").Call} call */
function wireCall(call) {
  return { id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } };
}

/** @param {import("../chat/settings.js").Settings} settings */
function responseFormat(settings) {
  if (settings.format === "json") return { type: "json_object" };
  if (settings.format === "schema") {
    return { type: "json_schema", json_schema: { name: "answer", schema: JSON.parse(settings.schema), strict: false } };
  }
  return null;
}
