/** Checks of values of any origin, such as a file or the browser's storage. */

/** What is wrong with a value, in words for the owner of the file. */
export class InvalidError extends Error {}

/**
 * Throws where a condition does not hold.
 * @param {unknown} condition
 * @param {string} complaint
 * @returns {asserts condition}
 */
export function require(condition, complaint) {
  if (!condition) throw new InvalidError(complaint);
}

/**
 * Says whether a value is an object with fields.
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
export function isRecord(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
