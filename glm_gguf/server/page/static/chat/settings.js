/** What can be set for a conversation; null and empty texts leave a field to the model's file. */

/**
 * @typedef {"temperature" | "topP" | "maxTokens" | "thinkingBudget" | "seed"} NumberName
 * @typedef {"text" | "json" | "schema"} Format
 * @typedef {{type: "function", function: {name: string, description?: string, parameters?: object}}} Declaration of a function, as in OpenAI's API
 *
 * @typedef {object} TextSettings
 * @property {string} system
 * @property {Format} format
 * @property {string} schema JSON text
 * @property {string} tools JSON text of a list of declarations
 *
 * @typedef {TextSettings & Record<NumberName, number | null>} Settings
 */

/** @type {Readonly<Settings>} */
export const DEFAULTS = Object.freeze({
  system: "", temperature: null, topP: null, maxTokens: null, thinkingBudget: null, seed: null, format: "text", schema: "", tools: "",
});

/**
 * Bounds of the numbers, as the server has them: lowest, highest, whole.
 * @type {Readonly<Record<NumberName, [number, number, boolean]>>}
 */
export const BOUNDS = Object.freeze({
  temperature: [0, 100, false],
  topP: [0, 1, false],
  maxTokens: [1, 2 ** 31 - 1, true],
  thinkingBudget: [0, 2 ** 31 - 1, true],
  seed: [0, 2 ** 32 - 2, true],
});

/** @type {readonly unknown[]} */
const FORMATS = ["text", "json", "schema"];

/**
 * Says whether a setting is a number.
 * @param {keyof Settings} name
 * @returns {name is NumberName}
 */
export function isNumber(name) {
  return name in BOUNDS;
}

/**
 * Returns why a field cannot be sent as it is, or null.
 * @param {Settings} settings
 * @param {keyof Settings} name
 */
export function complaint(settings, name) {
  if (isNumber(name)) return numberComplaint(settings[name], ...BOUNDS[name]);
  if (name === "tools") return toolsComplaint(settings.tools);
  if (name === "schema" && settings.format === "schema") return schemaComplaint(settings.schema);
  return null;
}

/**
 * Returns the first complaint about any field, or null.
 * @param {Settings} settings
 */
export function firstComplaint(settings) {
  return NAMES.map((name) => complaint(settings, name)).find(Boolean) ?? null;
}

/** The names of all settings. */
export const NAMES = /** @type {(keyof Settings)[]} */ (Object.keys(DEFAULTS));

/**
 * Returns settings made of any value: fields of the wrong type become defaults.
 * @param {unknown} value
 * @returns {Settings}
 */
export function settingsFrom(value) {
  const given = typeof value === "object" && value !== null ? value : {};
  const sound = Object.entries(given).filter(([name, field]) => name in DEFAULTS && isSound(/** @type {keyof Settings} */ (name), field));
  return { ...DEFAULTS, ...Object.fromEntries(sound) };
}

/** @param {keyof Settings} name @param {unknown} value */
function isSound(name, value) {
  if (isNumber(name)) return value === null || (typeof value === "number" && numberComplaint(value, ...BOUNDS[name]) === null);
  return name === "format" ? FORMATS.includes(value) : typeof value === "string";
}

/** @param {number | null} value @param {number} low @param {number} high @param {boolean} whole */
function numberComplaint(value, low, high, whole) {
  if (value === null) return null;
  if (Number.isNaN(value)) return "This is no number.";
  if (value < low || value > high) return `Give ${low} to ${high}.`;
  return whole && !Number.isInteger(value) ? "Give a whole number." : null;
}

/** @param {string} text */
function toolsComplaint(text) {
  if (!text.trim()) return null;
  const tools = parsed(text);
  if (!Array.isArray(tools)) return "The tools are no JSON list.";
  const odd = tools.findIndex((tool) => tool?.type !== "function" || typeof tool.function?.name !== "string");
  return odd < 0 ? null : `Tool ${odd + 1} is no {"type": "function", "function": {"name": …}}.`;
}

/** @param {string} text */
function schemaComplaint(text) {
  const schema = parsed(text);
  return typeof schema === "object" && schema !== null && !Array.isArray(schema) ? null : "The schema is no JSON object.";
}

/** @param {string} text @returns {unknown} */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
