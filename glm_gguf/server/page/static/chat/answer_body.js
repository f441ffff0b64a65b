/** What the server is asked for: an answer, or a research. */

import { requestBody, researchBody } from "../wire/request.js";
import { offeredTools } from "./settings.js";

/**
 * Returns the body that asks for the next message.
 * @param {string} model
 * @param {import("./conversation.js").Message[]} messages from the first one to the last
 * @param {import("./settings.js").Settings} settings
 * @param {{serverTools: import("./settings.js").Declaration[], servers: import("./settings.js").Server[], researches: boolean}} known what the server runs
 */
export function answerBody(model, messages, settings, known) {
  if (known.researches && settings.research) return researchBody(model, messages, settings);
  return requestBody(model, messages, settings, offeredTools(known, settings));
}
