/** The answers being written, of all conversations: followed to their ends, and picked up after a reload of the page. */

import { isAbort } from "../wire/api.js";
import { withChunk } from "../wire/partial_answer.js";
import { Problem } from "../wire/problem.js";
import { begunRuns } from "./begun_runs.js";

/**
 * @typedef {import("./run.js").Run} Run
 * @typedef {import("../wire/partial_answer.js").Chunk} Chunk
 * @typedef {(id: string, body: object | null, signal: AbortSignal) => AsyncIterable<Chunk>} AnswerChunks streams an answer by its id; without a body one that was begun before
 *
 * @typedef {object} Listeners each gets the id of the conversation
 * @property {() => void} onbegin
 * @property {(id: string, run: Run) => void} onchunk
 * @property {(id: string, run: Run, finish: "stopped" | "failed" | null, problem: Problem | null) => void} onend null where the model ended the answer
 */

export class Answering {
  /** The page is being closed or reloaded; what breaks off then may be picked up. */
  leaving = false;
  /** @type {Map<string, Run>} by conversation */
  #runs = new Map();
  #answerChunks;
  #listeners;

  /** @param {AnswerChunks} answerChunks @param {Listeners} listeners */
  constructor(answerChunks, listeners) {
    this.#answerChunks = answerChunks;
    this.#listeners = listeners;
  }

  /** @param {string} id of a conversation */
  get(id) {
    return this.#runs.get(id);
  }

  /**
   * Follows an answer to its end.
   * @param {string} id of its conversation
   * @param {Run} run
   * @param {() => Promise<object | null>} body null for an answer that was begun before
   */
  async follow(id, run, body) {
    this.#runs.set(id, run);
    begunRuns.add(id, run);
    this.#listeners.onbegin();
    /** @type {"stopped" | "failed" | null} */
    let finish = null;
    /** @type {Problem | null} */
    let problem = null;
    try {
      for await (const chunk of this.#answerChunks(run.id, await body(), run.controller.signal)) {
        run.answer = withChunk(run.answer, chunk, performance.now());
        this.#listeners.onchunk(id, run);
      }
    } catch (error) {
      if (!(error instanceof Problem) && !isAbort(error)) throw error;
      finish = run.controller.signal.aborted ? "stopped" : "failed";
      problem = finish === "failed" && error instanceof Problem ? error : null;
    } finally {
      this.#runs.delete(id);
      if (!this.leaving) begunRuns.remove(id);
      this.#listeners.onend(id, run, finish, problem);
    }
  }
}
