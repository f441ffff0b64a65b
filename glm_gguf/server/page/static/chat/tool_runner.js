/** Has the server run the calls of its own functions, and hands the results to the model. */

import { Problem } from "../wire/problem.js";
import { shownMessages } from "./conversation.js";

/** @typedef {import("./conversation.js").Answer} Answer */

/** The most answers with calls in one turn: after them a person goes on, since the model turns in circles. */
const MOST_ROUNDS = 16;

export class ToolRunner {
  #session;
  #runCall;
  /** Results by answer: null while the server runs the calls, texts until the answer is shown. @type {Map<string, string[] | null>} */
  #results = new Map();

  /**
   * @param {import("./session.js").Session} session
   * @param {(call: import("../wire/partial_answer.js").Call) => Promise<string>} runCall
   */
  constructor(session, runCall) {
    this.#session = session;
    this.#runCall = runCall;
    session.on("conversation", () => this.#handOver());
    session.on("finish", (answer) => {
      if (this.#isOurs(answer) && this.#rounds() <= MOST_ROUNDS) this.#run(answer);
    });
  }

  /**
   * Says whether the server runs the calls of an answer at this time: nobody else enters results then.
   * @param {Answer} answer
   */
  isRunning({ id }) {
    return this.#results.has(id);
  }

  /**
   * Says whether the server runs all calls of an answer; else the form for their results stays.
   * @param {Answer} answer
   */
  #isOurs({ calls }) {
    const { serverTools, servers } = this.#session;
    const names = new Set([...serverTools, ...servers.flatMap(({ tools }) => tools)].map((tool) => tool.function.name));
    return calls.length > 0 && calls.every(({ name }) => names.has(name));
  }

  /** @param {Answer} answer the last shown message */
  async #run(answer) {
    this.#results.set(answer.id, null);
    this.#session.emit("conversation");
    this.#session.emit("calls", answer);
    const runs = answer.calls.map(this.#runCall);
    await Promise.allSettled(runs); // else the form would come back while the server still runs the other calls
    try {
      this.#results.set(answer.id, await Promise.all(runs));
      this.#session.emit("conversation");
    } catch (error) {
      this.#results.delete(answer.id);
      this.#session.emit("conversation");
      if (!(error instanceof Problem)) throw error;
      if (this.#session.conversation.leaf === answer.id) this.#session.emit("problem", { problem: error, retry: () => this.#run(answer) });
    }
  }

  /** Hands the results of the last shown answer to the model; those of another wait until it is shown. */
  #handOver() {
    const answer = shownMessages(this.#session.conversation).at(-1);
    const results = answer && this.#results.get(answer.id);
    if (!results || answer.role !== "assistant" || this.#session.busy) return;
    this.#results.delete(answer.id);
    this.#session.answerCalls(answer, results);
  }

  /** Returns the number of answers with calls since the user's last message. */
  #rounds() {
    const shown = shownMessages(this.#session.conversation);
    const turn = shown.slice(shown.findLastIndex(({ role }) => role === "user"));
    return turn.filter((message) => message.role === "assistant" && message.calls.length).length;
  }
}
