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

/**
 * Suggestions on the empty page.
 * @type {Suggestion[]}
 */
export const SUGGESTIONS = [
  { title: "Call a tool", hint: "You define the function and enter its result", text: "What is the weather in Beijing?", tools: EXAMPLE_TOOLS },
  { title: "Draw an SVG", hint: "Shown beside the answer", text: "Draw a sailing boat at sunset as an SVG, in one ```svg block." },
  { title: "Build a small page", hint: "Runs in a frame without network", text: "Write one HTML page with inline CSS and JavaScript: an animated solar system." },
  { title: "Explain something", hint: "With formulas and code", text: "Explain how a Fourier transform works, with the formula and a short Python example." },
];
