/** Suggestions for a model that the user does not know yet. */

/** An example of declarations: the bundled tiny model was trained with it. */
export const EXAMPLE_TOOLS = JSON.stringify([
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "Weather of a city",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
], null, 2);

/**
 * @typedef {{title: string, hint: string, text: string, tools?: string}} Suggestion `tools` are declared when the user takes it
 */

const WEATHER = "What is the weather in Beijing?";

/** @type {readonly Suggestion[]} */
const OTHERS = [
  { title: "Draw an SVG", hint: "Shown beside the answer", text: "Draw a sailing boat at sunset as an SVG, in one ```svg block." },
  { title: "Build a small page", hint: "Runs in a frame without network", text: "Write one HTML page with inline CSS and JavaScript: an animated solar system." },
  { title: "Explain something", hint: "With formulas and code", text: "Explain how a Fourier transform works, with the formula and a short Python example." },
];

/** The most functions that a suggestion names. */
const MOST_NAMES = 5;

/**
 * Returns the suggestions on the empty page.
 * @param {import("./settings.js").Declaration[]} serverTools functions that the server runs
 * @returns {Suggestion[]}
 */
export function suggestions(serverTools) {
  const names = serverTools.map((tool) => tool.function.name);
  return [names.length ? serverCall(names) : { title: "Call a tool", hint: "You define the function and enter its result", text: WEATHER, tools: EXAMPLE_TOOLS }, ...OTHERS];
}

/** @param {string[]} names @returns {Suggestion} */
function serverCall(names) {
  const more = names.length > MOST_NAMES ? ` and ${names.length - MOST_NAMES} more` : "";
  const text = names.includes("get_weather") ? WEATHER : `Say what ${names[0]} does, and call it with an example.`;
  return { title: "Call a tool", hint: `The server runs ${names.slice(0, MOST_NAMES).join(", ")}${more}`, text };
}
