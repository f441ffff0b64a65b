/** What a screen reader is told: that the model writes, and then the answer; not every token. */

import { byId } from "./dom.js";

const LONGEST = 600;

/** Speaks of a session's answers. */
export function startAnnouncer(session) {
  let told = null;
  session.addEventListener("conversation", () => {
    if (session.run && session.run !== told) say("The model is writing.");
    told = session.run;
  });
  session.addEventListener("finish", ({ detail }) => say(spoken(detail)));
}

/** Says something once. */
export function say(text) {
  byId("announcer").textContent = text;
}

function spoken({ content, calls, finish }) {
  if (finish === "stopped") return "Stopped.";
  if (finish === "failed") return "The answer broke off.";
  if (calls.length) return `The model calls ${calls.map((call) => call.name).join(", ")}. Enter the results.`;
  return content.length > LONGEST ? `Answer: ${content.slice(0, LONGEST)} … The answer goes on.` : `Answer: ${content}`;
}
