/** Has the server run the calls of its own functions, and hands the results to the model. */

import { Problem } from "../wire/problem.js";
import { shownMessages } from "./conversation.js";

/** Answers with calls in one turn, behind which a person goes on: the model turns in circles. */
const MOST_ROUNDS = 16;

export class Player {
  #session;
  #run;

  /**
   * @param {import("./session.js").Session} session
   * @param {(call: import("../wire/reply.js").Call) => Promise<string>} run
   */
  constructor(session, run) {
    this.#session = session;
    this.#run = run;
    session.addEventListener("finish", ({ detail }) => this.#play(detail));
  }

  /** Plays the calls of an answer, where all of them are the server's; else the form for their results stays. */
  async #play(message) {
    const names = new Set(this.#session.serverTools.map((tool) => tool.function.name));
    if (!message.calls?.length || !message.calls.every(({ name }) => names.has(name)) || this.#rounds() > MOST_ROUNDS) return;
    const { id } = this.#session.conversation;
    try {
      const results = await Promise.all(message.calls.map(this.#run));
      const { conversation, busy } = this.#session;
      if (conversation.id === id && conversation.leaf === message.id && !busy) this.#session.answerCalls(message, results);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#session.dispatchEvent(new CustomEvent("problem", { detail: error }));
    }
  }

  /** Answers with calls since the user spoke. */
  #rounds() {
    const shown = shownMessages(this.#session.conversation);
    return shown.slice(shown.findLastIndex(({ role }) => role === "user")).filter(({ calls }) => calls?.length).length;
  }
}
