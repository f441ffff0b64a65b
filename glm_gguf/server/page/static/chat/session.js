/** What the page does: conversations, which of them is open, and the answers being written. */

import { emptyReply, grown, thoughtSeconds, tokenRate } from "../wire/reply.js";
import { requestBody } from "../wire/request.js";
import { Problem } from "../wire/problem.js";
import { branchTo, joined, newConversation, resultsFrom, showing, shownMessages, withMessage } from "./conversation.js";
import { identifier } from "./identifier.js";
import { Library } from "./library.js";
import { firstComplaint } from "./settings.js";

const KEEP_EVERY = 2000;

/**
 * @typedef {{id: string, parent: string, reply: import("../wire/reply.js").Reply, controller: AbortController, keptAt: number}} Run
 *
 * Events: `read` (once, what was kept is there), `conversation` (another one, or another shape of it), `settings` (its settings), `reply` (the running answer grew), `shelf` (the list),
 * `finish` (an answer ended; detail is its message), `problem` (detail is a Problem, or null where it is over).
 */
export class Session extends EventTarget {
  /** @type {import("./conversation.js").Conversation} */
  conversation;
  /** Declarations of the functions that the server runs. @type {object[]} */
  serverTools = [];
  /** @type {Map<string, Run>} by conversation */
  #runs = new Map();
  #library;
  #answerChunks;
  #lastSettings;
  #modelId;

  /**
   * @param {import("./shelf.js").Shelf | null} shelf null where the browser keeps nothing
   * @param {(body: object, signal: AbortSignal) => AsyncIterable<object>} answerChunks
   * @param {{get: () => object, set: (settings: object) => void}} lastSettings
   * @param {() => Promise<string>} modelId
   */
  constructor(shelf, answerChunks, lastSettings, modelId) {
    super();
    this.#library = new Library(shelf, (type, detail) => this.#tell(type, detail));
    this.#answerChunks = answerChunks;
    this.#lastSettings = lastSettings;
    this.#modelId = modelId;
    this.conversation = newConversation(lastSettings.get(), Date.now());
  }

  /** Reads what was kept, and from then on what other tabs keep. */
  load() {
    return this.#library.load((id, theirs) => (theirs ? this.#join(theirs) : this.#forgotten(id)));
  }

  /** All kept conversations, the one changed last first. */
  get kept() {
    return this.#library.all;
  }

  /** The answer being written below the shown message, or null. */
  get run() {
    const run = this.#runs.get(this.conversation.id);
    return run && run.parent === this.conversation.leaf ? run : null;
  }

  /** Whether an answer to this conversation is being written, shown or not. */
  get busy() {
    return this.#runs.has(this.conversation.id);
  }

  /** Opens an empty conversation. */
  begin() {
    this.#open(newConversation(this.#lastSettings.get(), Date.now()));
  }

  /** Says whether a conversation is kept. */
  keeps(id) {
    return this.#library.get(id) !== undefined;
  }

  /** Opens a kept conversation. */
  open(id) {
    const conversation = this.#library.get(id);
    if (conversation) this.#open(conversation);
  }

  /** Sends a text below the last shown message. */
  send(text) {
    return this.#say(this.conversation.leaf, [{ role: "user", content: text }]);
  }

  /** Says something else in place of a message, on a branch of its own; the results behind a result go there with it. */
  edit(message, text) {
    if (message.role !== "tool") return this.#say(message.parent, [{ role: message.role, content: text }]);
    const results = resultsFrom(this.conversation, message).map(({ role, callId, content }) => ({ role, callId, content }));
    return this.#say(message.parent, [{ ...results[0], content: text }, ...results.slice(1)]);
  }

  /** Hands the results of a message's calls to the model, in their order. */
  answerCalls(message, results) {
    return this.#say(message.id, message.calls.map((call, index) => ({ role: "tool", callId: call.id, content: results[index] })));
  }

  /** Has an answer written again, beside the one that is there. */
  retry(message) {
    return this.#say(message.parent, []);
  }

  /** Answers the last shown message, or writes its answer again where that broke off. */
  resume() {
    const last = shownMessages(this.conversation).at(-1);
    return last?.role === "assistant" ? this.retry(last) : this.#say(this.conversation.leaf, []);
  }

  /** Shows the branch through a message. */
  show(id) {
    this.#set(showing(this.conversation, id));
  }

  /** Stops the answer to the open conversation; what came so far stays. */
  stop() {
    this.#runs.get(this.conversation.id)?.controller.abort();
  }

  /** Takes settings over, for this conversation and those begun later. */
  configure(settings) {
    this.#lastSettings.set(settings);
    this.conversation = { ...this.conversation, settings };
    if (this.#library.get(this.conversation.id)) this.#library.keep(this.conversation);
    this.#tell("settings");
  }

  /** Gives a kept conversation another title. */
  rename(id, title) {
    this.#change(id, (conversation) => ({ ...conversation, title }));
  }

  /** Forgets a kept conversation, and stops its answer. */
  remove(id) {
    this.#library.remove(id);
    this.#leave(id);
  }

  /** Keeps conversations that were read from a file. */
  adopt(conversations) {
    this.#library.keep(...conversations);
  }

  async #say(parent, messages) {
    const wrong = firstComplaint(this.conversation.settings);
    if (wrong) return this.#tell("problem", new Problem("The settings cannot be sent.", wrong, "settings"));
    if (this.busy) return undefined;
    this.#tell("problem", null);
    let conversation = { ...this.conversation, leaf: parent };
    for (const fields of messages) conversation = withMessage(conversation, conversation.leaf, fields, Date.now());
    this.#set(conversation);
    return this.#answer(conversation);
  }

  async #answer({ id, leaf, settings, messages }) {
    const run = { id: identifier(), parent: leaf, reply: emptyReply(performance.now()), controller: new AbortController(), keptAt: performance.now() };
    this.#runs.set(id, run);
    this.#tell("conversation");
    let finish = null;
    try {
      const body = requestBody(await this.#modelId(), branchTo({ messages }, leaf), settings, this.serverTools);
      for await (const chunk of this.#answerChunks(body, run.controller.signal)) this.#grow(id, run, chunk);
    } catch (error) {
      if (!(error instanceof Problem) && error.name !== "AbortError") throw error;
      finish = run.controller.signal.aborted ? "stopped" : "failed";
      if (finish === "failed" && this.conversation.id === id) this.#tell("problem", error);
    } finally {
      this.#runs.delete(id);
      this.#end(id, run, finish);
    }
  }

  #grow(id, run, chunk) {
    const now = performance.now();
    run.reply = grown(run.reply, chunk, now);
    if (this.conversation.id === id) this.#tell("reply");
    const kept = this.#library.get(id);
    if (now - run.keptAt > KEEP_EVERY && kept) {
      run.keptAt = now;
      this.#library.note(this.#answered(kept, run, "failed"));
    }
  }

  #end(id, run, finish) {
    const { content, reasoning, calls } = run.reply;
    if (!this.#library.get(id)) return;
    if (finish !== null && !content && !reasoning && !calls.length) return void this.#change(id, (conversation) => unanswered(conversation, run));
    this.#change(id, (conversation) => this.#answered(conversation, run, finish));
    if (this.conversation.id === id) this.#tell("finish", this.#library.get(id).messages.at(-1));
  }

  #answered(conversation, { id, reply, parent }, finish) {
    const now = performance.now();
    const answered = withMessage(conversation, parent, {
      id,
      role: "assistant",
      content: reply.content,
      reasoning: reply.reasoning,
      thoughtSeconds: thoughtSeconds(reply, reply.lastAt ?? now),
      calls: reply.finish === "tool_calls" ? reply.calls.map((call) => ({ ...call, id: call.id || identifier() })) : [],
      finish: finish ?? reply.finish,
      usage: reply.usage,
      rate: tokenRate(reply),
    }, Date.now());
    return conversation.leaf === parent ? answered : { ...answered, leaf: conversation.leaf };
  }

  #change(id, change) {
    const conversation = change(this.#library.get(id));
    this.#library.keep(conversation);
    if (this.conversation.id === id) this.#open(conversation);
  }

  #set(conversation) {
    this.#library.keep(conversation);
    this.#open(conversation);
  }

  #open(conversation) {
    if (conversation.id !== this.conversation.id) this.#tell("problem", null);
    this.conversation = conversation;
    this.#tell("conversation");
  }

  /** The branch shown here stays, and goes on as far as it does there; an answer written here is not taken from there. */
  #join(theirs) {
    const { id } = theirs;
    const [ours, run] = [this.#library.get(id), this.#runs.get(id)];
    let both = theirs;
    if (ours) {
      both = joined(ours, { ...theirs, messages: theirs.messages.filter((message) => message.id !== run?.id) });
      both = run ? { ...both, leaf: ours.leaf } : showing(both, ours.leaf);
    }
    this.#library.take(both);
    if (this.conversation.id === id) this.#open(both);
  }

  #forgotten(id) {
    this.#library.drop(id);
    this.#leave(id);
  }

  /** Goes away from a conversation that is no more. */
  #leave(id) {
    this.#runs.get(id)?.controller.abort();
    if (this.conversation.id === id) this.begin();
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Where an answer that was to be written again did not come, the one before it is shown. */
function unanswered(conversation, { parent }) {
  return conversation.leaf === parent ? showing(conversation, parent) : conversation;
}
