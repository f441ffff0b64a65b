/** What can be set for a conversation; null and empty texts leave a field to the model's file. */

/**
 * @typedef {"temperature" | "topP" | "maxTokens" | "thinkingBudget" | "seed"} NumberName
 * @typedef {"text" | "json" | "schema"} Format
 * @typedef {{type: "function", function: {name: string, description?: string, parameters?: object}}} Declaration of a function, as in OpenAI's API
 *
 * @typedef {{name: string, tools: Declaration[]}} Server an MCP server that the server runs
 *
 * @typedef {object} TextSettings
 * @property {string} system
 * @property {Format} format
 * @property {string} schema JSON text
 * @property {string} tools JSON text of a list of declarations
 * @property {string} servers names of the MCP servers that are switched on, a line each
 *
 * @typedef {TextSettings & {research: boolean, oneSearch: boolean} & Record<NumberName, number | null>} Settings
 * @typedef {{minimum: number, maximum: number, whole: boolean}} Bounds
 * @typedef {Partial<Record<NumberName, Bounds>>} ServerBounds of the numbers that the server takes
 */

/** @type {Readonly<Settings>} */
export const DEFAULTS = Object.freeze({
  system: "", temperature: null, topP: null, maxTokens: null, thinkingBudget: null, seed: null, format: "text", schema: "", tools: "", servers: "", research: false, oneSearch: false,
});

/** @type {readonly unknown[]} */
const FORMATS = ["text", "json", "schema"];
/** @type {readonly string[]} */
const NUMBERS = ["temperature", "topP", "maxTokens", "thinkingBudget", "seed"];

/**
 * Returns the names of the MCP servers that are switched on.
 * @param {string} servers
 */
export function switchedOn(servers) {
  return servers.split("\n").filter(Boolean);
}

/**
 * Returns what the server may run for a conversation: its functions, and the tools of the servers that are switched on.
 * @param {{serverTools: Declaration[], servers: Server[]}} known
 * @param {Settings} settings
 */
export function offeredTools({ serverTools, servers }, settings) {
  const on = switchedOn(settings.servers);
  return [...serverTools, ...servers.filter(({ name }) => on.includes(name)).flatMap(({ tools }) => tools)];
}

/**
 * Says whether a setting is a number.
 * @param {keyof Settings} name
 * @returns {name is NumberName}
 */
function isNumber(name) {
  return NUMBERS.includes(name);
}

/**
 * Returns why a field cannot be sent as it is, or null.
 * @param {Settings} settings
 * @param {keyof Settings} name
 * @param {ServerBounds} bounds
 */
export function complaint(settings, name, bounds) {
  if (isNumber(name)) return numberComplaint(settings[name], bounds[name]);
  if (name === "tools") return toolsComplaint(settings.tools);
  if (name === "schema" && settings.format === "schema") return schemaComplaint(settings.schema);
  return null;
}

/**
 * Returns the first complaint about any field, or null.
 * @param {Settings} settings
 * @param {ServerBounds} bounds
 */
export function firstComplaint(settings, bounds) {
  return NAMES.map((name) => complaint(settings, name, bounds)).find(Boolean) ?? null;
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
  if (isNumber(name)) return value === null || Number.isFinite(value);
  if (name === "research" || name === "oneSearch") return typeof value === "boolean";
  return name === "format" ? FORMATS.includes(value) : typeof value === "string";
}

/** @param {number | null} value @param {Bounds | undefined} bounds */
function numberComplaint(value, bounds) {
  if (value === null) return null;
  if (Number.isNaN(value)) return "This is not a number.";
  if (!bounds) return null;
  const { minimum, maximum, whole } = bounds;
  if (value < minimum || value > maximum) return `Give ${minimum} to ${maximum}.`;
  return whole && !Number.isInteger(value) ? "Give a whole number." : null;
}

/** @param {string} text */
function toolsComplaint(text) {
  if (!text.trim()) return null;
  const tools = parsed(text);
  if (!Array.isArray(tools)) return "The tools are not a JSON list.";
  const odd = tools.findIndex((tool) => tool?.type !== "function" || typeof tool.function?.name !== "string");
  return odd < 0 ? null : `Tool ${odd + 1} is not {"type": "function", "function": {"name": …}}.`;
}

/** @param {string} text */
function schemaComplaint(text) {
  const schema = parsed(text);
  return typeof schema === "object" && schema !== null && !Array.isArray(schema) ? null : "The schema is not a JSON object.";
}

/** @param {string} text @returns {unknown} */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
