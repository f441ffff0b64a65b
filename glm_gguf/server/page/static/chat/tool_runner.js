/** Has the server run the calls of its own functions, and hands the results to the model. */

import { Problem } from "../wire/problem.js";
import { shownMessages } from "./conversation.js";

/** @typedef {import("./conversation.js").Answer} Answer */

/** The most answers with calls in one turn: after them a person goes on, since the model turns in circles. */
const MOST_ROUNDS = 16;

export class ToolRunner {
  #session;
  #runCall;

  /**
   * @param {import("./session.js").Session} session
   * @param {(call: import("../wire/partial_answer.js").Call) => Promise<string>} runCall
   */
  constructor(session, runCall) {
    this.#session = session;
    this.#runCall = runCall;
    session.on("finish", (answer) => {
      if (this.#isOurs(answer) && this.#rounds() <= MOST_ROUNDS) this.#run(answer);
    });
  }

  /**
   * Says whether the server runs all calls of an answer; else the form for their results stays.
   * @param {Answer} answer
   */
  #isOurs({ calls }) {
    const names = new Set(this.#session.serverTools.map((tool) => tool.function.name));
    return calls.length > 0 && calls.every(({ name }) => names.has(name));
  }

  /** @param {Answer} answer the last shown message */
  async #run(answer) {
    const { id } = this.#session.conversation;
    const isShown = () => this.#session.conversation.id === id && this.#session.conversation.leaf === answer.id;
    try {
      const results = await Promise.all(answer.calls.map(this.#runCall));
      if (isShown() && !this.#session.busy) this.#session.answerCalls(answer, results);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (isShown()) this.#session.emit("problem", { problem: error, retry: () => this.#run(answer) });
    }
  }

  /** Returns the number of answers with calls since the user's last message. */
  #rounds() {
    const shown = shownMessages(this.#session.conversation);
    const turn = shown.slice(shown.findLastIndex(({ role }) => role === "user"));
    return turn.filter((message) => message.role === "assistant" && message.calls.length).length;
  }
}
