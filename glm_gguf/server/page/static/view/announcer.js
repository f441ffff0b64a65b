/** Tells a screen reader that the model writes, and then the answer; not every token. */

import { byId } from "./dom.js";
import { runningText } from "./tool_calls.js";

const LONGEST = 600;

/**
 * Announces a session's answers, and the calls that the server runs.
 * @param {import("../chat/session.js").Session} session
 * @param {(answer: import("../chat/conversation.js").Answer) => boolean} isRunning says whether the server runs an answer's calls
 */
export function startAnnouncer(session, isRunning) {
  /** @type {import("../chat/run.js").Run | null} */
  let announced = null;
  session.on("conversation", () => {
    if (session.run && session.run !== announced) announce("The model is writing.");
    announced = session.run;
  });
  session.on("calls", ({ calls }) => announce(runningText(calls)));
  session.on("finish", (answer) => {
    if (!isRunning(answer)) announce(spoken(answer));
  });
}

/**
 * Has a screen reader say a text once.
 * @param {string} text
 */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** @param {import("../chat/conversation.js").Answer} answer */
function spoken({ content, calls, finish }) {
  if (finish === "stopped") return "Stopped.";
  if (finish === "failed") return "The answer broke off.";
  if (calls.length) return `The model calls ${calls.map((call) => call.name).join(", ")}. Enter the results.`;
  return content.length > LONGEST ? `Answer: ${content.slice(0, LONGEST)} … The answer goes on.` : `Answer: ${content}`;
}
