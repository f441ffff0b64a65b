/** What can be set for a conversation; null and empty texts leave a field to the model's file. */

/**
 * @typedef {object} Settings
 * @property {string} system
 * @property {number | null} temperature
 * @property {number | null} topP
 * @property {number | null} maxTokens
 * @property {number | null} thinkingBudget
 * @property {number | null} seed
 * @property {"text" | "json" | "schema"} format
 * @property {string} schema JSON text
 * @property {string} tools JSON text of a list of declarations
 */

/** @type {Readonly<Settings>} */
export const DEFAULTS = Object.freeze({
  system: "", temperature: null, topP: null, maxTokens: null, thinkingBudget: null, seed: null, format: "text", schema: "", tools: "",
});

/** Bounds of the numbers, as the server has them: lowest, highest, whole. */
export const BOUNDS = Object.freeze({
  temperature: [0, 100, false],
  topP: [0, 1, false],
  maxTokens: [1, 2 ** 31 - 1, true],
  thinkingBudget: [0, 2 ** 31 - 1, true],
  seed: [0, 2 ** 32 - 2, true],
});

const FORMATS = ["text", "json", "schema"];

/** Returns why a field cannot be sent as it is, or null. */
export function complaint(settings, name) {
  if (name in BOUNDS) return numberComplaint(settings[name], ...BOUNDS[name]);
  if (name === "tools") return toolsComplaint(settings.tools);
  if (name === "schema" && settings.format === "schema") return schemaComplaint(settings.schema);
  return null;
}

/** Returns the first complaint about any field, or null. */
export function firstComplaint(settings) {
  return Object.keys(DEFAULTS).map((name) => complaint(settings, name)).find(Boolean) ?? null;
}

/** Returns settings made of what may be anything: fields of the wrong type become defaults. */
export function settingsFrom(value) {
  const given = typeof value === "object" && value !== null ? value : {};
  return Object.fromEntries(Object.entries(DEFAULTS).map(([name, usual]) => [name, isFit(name, given[name]) ? given[name] : usual]));
}

function isFit(name, value) {
  if (name in BOUNDS) return value === null || (typeof value === "number" && numberComplaint(value, ...BOUNDS[name]) === null);
  return name === "format" ? FORMATS.includes(value) : typeof value === "string";
}

function numberComplaint(value, low, high, whole) {
  if (value === null) return null;
  if (Number.isNaN(value)) return "This is no number.";
  if (value < low || value > high) return `Give ${low} to ${high}.`;
  return whole && !Number.isInteger(value) ? "Give a whole number." : null;
}

function toolsComplaint(text) {
  if (!text.trim()) return null;
  const tools = parsed(text);
  if (!Array.isArray(tools)) return "The tools are no JSON list.";
  const odd = tools.findIndex((tool) => tool?.type !== "function" || typeof tool.function?.name !== "string");
  return odd < 0 ? null : `Tool ${odd + 1} is no {"type": "function", "function": {"name": …}}.`;
}

function schemaComplaint(text) {
  const schema = parsed(text);
  return typeof schema === "object" && schema !== null && !Array.isArray(schema) ? null : "The schema is no JSON object.";
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
