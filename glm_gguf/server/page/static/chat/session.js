/** What the page does: conversations, which of them is open, and the answers being written. */

import { emptyReply, grown, thoughtSeconds, tokenRate } from "../wire/reply.js";
import { requestBody } from "../wire/request.js";
import { Problem } from "../wire/problem.js";
import { restored } from "./archive.js";
import { branchTo, joined, newConversation, resultsFrom, showing, shownMessages, withMessage } from "./conversation.js";
import { identifier } from "./identifier.js";
import { firstComplaint } from "./settings.js";

const KEEP_EVERY = 2000;

/**
 * @typedef {{id: string, parent: string, reply: import("../wire/reply.js").Reply, controller: AbortController, keptAt: number}} Run
 *
 * Events: `conversation` (another one, or another shape of it), `settings` (its settings), `reply` (the running answer grew), `shelf` (the list),
 * `finish` (an answer ended; detail is its message), `problem` (detail is a Problem, or null where it is over).
 */
export class Session extends EventTarget {
  /** @type {import("./conversation.js").Conversation} */
  conversation;
  /** @type {Map<string, import("./conversation.js").Conversation>} */
  #kept = new Map();
  /** @type {Map<string, Run>} by conversation */
  #runs = new Map();
  #shelf;
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
    this.#shelf = shelf;
    this.#answerChunks = answerChunks;
    this.#lastSettings = lastSettings;
    this.#modelId = modelId;
    this.conversation = newConversation(lastSettings.get(), Date.now());
  }

  /** Reads what was kept, and from then on what other tabs keep. */
  async load() {
    this.#shelf?.watch((ids) => this.#shelve((shelf) => this.#follow(shelf, ids), unread()));
    await this.#shelve(async (shelf) => {
      const records = await shelf.all();
      const sound = records.map((record) => restored(record, Date.now())).filter(Boolean);
      sound.forEach((conversation) => this.#kept.set(conversation.id, conversation));
      this.#tell("shelf");
      if (sound.length < records.length) this.#tell("problem", damaged(records.length - sound.length));
    }, unread());
  }

  /** All kept conversations, the one changed last first. */
  get kept() {
    return [...this.#kept.values()].sort((a, b) => b.changed - a.changed);
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

  /** Opens a kept conversation. */
  open(id) {
    if (this.#kept.has(id)) this.#open(this.#kept.get(id));
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
    if (this.#kept.has(this.conversation.id)) this.#keep(this.conversation);
    this.#tell("settings");
  }

  /** Gives a kept conversation another title. */
  rename(id, title) {
    this.#change(id, (conversation) => ({ ...conversation, title }));
  }

  /** Forgets a kept conversation, and stops its answer. */
  remove(id) {
    this.#forget(id);
    this.#shelve((shelf) => shelf.remove(id));
    this.#tell("shelf");
  }

  /** Keeps conversations that were read from a file. */
  adopt(conversations) {
    this.#keep(...conversations);
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
      const body = requestBody(await this.#modelId(), branchTo({ messages }, leaf), settings);
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
    if (now - run.keptAt > KEEP_EVERY && this.#kept.has(id)) {
      run.keptAt = now;
      this.#shelve((shelf) => shelf.note(this.#answered(this.#kept.get(id), run, "failed")));
    }
  }

  #end(id, run, finish) {
    const { content, reasoning, calls } = run.reply;
    if (!this.#kept.has(id)) return;
    if (finish !== null && !content && !reasoning && !calls.length) return void this.#change(id, (conversation) => unanswered(conversation, run));
    this.#change(id, (conversation) => this.#answered(conversation, run, finish));
    if (this.conversation.id === id) this.#tell("finish", this.#kept.get(id).messages.at(-1));
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
    const conversation = change(this.#kept.get(id));
    this.#keep(conversation);
    if (this.conversation.id === id) this.#open(conversation);
  }

  #set(conversation) {
    this.#keep(conversation);
    this.#open(conversation);
  }

  #open(conversation) {
    if (conversation.id !== this.conversation.id) this.#tell("problem", null);
    this.conversation = conversation;
    this.#tell("conversation");
  }

  #keep(...conversations) {
    conversations.forEach((conversation) => this.#kept.set(conversation.id, conversation));
    this.#shelve((shelf) => shelf.put(...conversations));
    this.#tell("shelf");
  }

  /** Takes over what other tabs have kept or forgotten. */
  async #follow(shelf, ids) {
    for (const id of ids) {
      const record = await shelf.get(id);
      const theirs = record && restored(record, Date.now());
      if (theirs) this.#join(theirs);
      else if (!record) this.#forget(id);
    }
    this.#tell("shelf");
  }

  /** The branch shown here stays, and goes on as far as it does there; an answer written here is not taken from there. */
  #join(theirs) {
    const { id } = theirs;
    const [ours, run] = [this.#kept.get(id), this.#runs.get(id)];
    let both = theirs;
    if (ours) {
      both = joined(ours, { ...theirs, messages: theirs.messages.filter((message) => message.id !== run?.id) });
      both = run ? { ...both, leaf: ours.leaf } : showing(both, ours.leaf);
    }
    this.#kept.set(id, both);
    if (this.conversation.id === id) this.#open(both);
  }

  #forget(id) {
    this.#kept.delete(id);
    this.#runs.get(id)?.controller.abort();
    if (this.conversation.id === id) this.begin();
  }

  async #shelve(deed, otherwise = unkept()) {
    try {
      if (this.#shelf) await deed(this.#shelf);
    } catch {
      this.#tell("problem", otherwise);
    }
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Where an answer that was to be written again did not come, the one before it is shown. */
function unanswered(conversation, { parent }) {
  return conversation.leaf === parent ? showing(conversation, parent) : conversation;
}

function unkept() {
  return new Problem("The browser could not keep this conversation.", "Its storage may be full. Export what matters.");
}

function unread() {
  return new Problem("The browser could not read what it keeps for this page.", "Load the page again.");
}

function damaged(count) {
  const what = count === 1 ? "One kept conversation is damaged" : `${count} kept conversations are damaged`;
  return new Problem(`${what}.`, "The list leaves out what cannot be shown; nothing was deleted.");
}
