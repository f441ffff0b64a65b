/** What the page does: conversations, which of them is open, and the answers being written. */

import { Problem } from "../wire/problem.js";
import { answerBody } from "./answer_body.js";
import { Answering } from "./answering.js";
import { begunRuns } from "./begun_runs.js";
import { branchTo, joined, newConversation, resultsFrom, showing, shownMessages, withMessage } from "./conversation.js";
import { Conversations } from "./kept_conversations.js";
import { answered, isEmpty, newRun, unanswered, withoutAnswer } from "./run.js";
import { firstComplaint } from "./settings.js";

/**
 * @typedef {import("./conversation.js").Answer} Answer
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./conversation.js").Message} Message
 * @typedef {import("./conversation.js").NewMessage} NewMessage
 * @typedef {import("./settings.js").Settings} Settings
 * @typedef {import("./run.js").Run} Run
 * @typedef {object} Events
 * @property {undefined} loaded once, when the kept conversations are there
 * @property {undefined} conversation another one is open, or the open one has another shape
 * @property {undefined} settings those of the open conversation changed, or the bounds of the server are known
 * @property {undefined} chunk the running answer grew
 * @property {undefined} list the kept conversations changed
 * @property {Answer} finish an answer of the open conversation ended
 * @property {Answer} calls the server begins to run an answer's calls
 * @property {{problem: Problem, retry?: () => void} | null} problem null where it is over
 */

const STORE_EVERY = 2000;

export class Session extends EventTarget {
  /** @type {Conversation} */
  conversation;
  /** Functions that the server runs. @type {import("./settings.js").Declaration[]} */
  serverTools = [];
  servers = /** @type {import("./settings.js").Server[]} */ ([]);
  researches = false;
  /** @type {import("./settings.js").ServerBounds} */
  bounds = {};
  answering;
  #conversations;
  #lastSettings;
  #modelId;

  /**
   * @param {import("./storage.js").ConversationStorage | null} storage null where the browser stores nothing
   * @param {import("./answering.js").AnswerChunks} answerChunks
   * @param {{get: () => Settings, set: (settings: Settings) => void}} lastSettings
   * @param {() => Promise<string>} modelId
   */
  constructor(storage, answerChunks, lastSettings, modelId) {
    super();
    this.#conversations = new Conversations(storage, {
      onlist: () => this.emit("list"),
      onread: () => {
        this.#pickUp();
        this.emit("loaded");
      },
      onproblem: (problem) => this.emit("problem", { problem }),
      onother: (id, theirs) => (theirs ? this.#merge(theirs) : this.#leave(id)),
    });
    this.answering = new Answering(answerChunks, {
      onbegin: () => this.emit("conversation"),
      onchunk: (id, run) => this.#grown(id, run),
      onend: (...ended) => this.#end(...ended),
    });
    this.#lastSettings = lastSettings;
    this.#modelId = modelId;
    this.conversation = newConversation(lastSettings.get(), Date.now());
  }

  /**
   * Calls a listener with the detail of every event of a type.
   * @template {keyof Events} T
   * @param {T} type
   * @param {(detail: Events[T]) => void} listener
   */
  on(type, listener) {
    this.addEventListener(type, (event) => listener(/** @type {CustomEvent<Events[T]>} */ (event).detail));
  }

  /**
   * @template {keyof Events} T
   * @param {T} type
   * @param {Events[T]} [detail]
   */
  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Reads the stored conversations, and from then on those that other tabs store. */
  load() {
    this.#conversations.load();
  }

  /** All kept conversations, the one changed last first. */
  get kept() {
    return this.#conversations.all;
  }

  /** The answer being written below the shown message, or null. */
  get run() {
    const run = this.answering.get(this.conversation.id);
    return run && run.parent === this.conversation.leaf ? run : null;
  }

  /** Whether an answer to the open conversation is being written, shown or not. */
  get busy() {
    return this.answering.get(this.conversation.id) !== undefined;
  }

  /** Opens an empty conversation. */
  begin() {
    this.#open(newConversation(this.#lastSettings.get(), Date.now()));
  }

  /** Says whether a conversation is kept. @param {string} id */
  keeps(id) {
    return this.#conversations.get(id) !== undefined;
  }

  /** Opens a kept conversation. @param {string} id */
  open(id) {
    const conversation = this.#conversations.get(id);
    if (conversation) this.#open(conversation);
  }

  /** Sends a text below the last shown message. @param {string} text */
  send(text) {
    this.#ask(this.conversation.leaf, [{ role: "user", content: text }]);
  }

  /**
   * Sends another text in place of a message, on a new branch; a result takes the results after it along.
   * @param {Message} message not an answer
   * @param {string} text
   */
  edit(message, text) {
    const results = message.role === "tool" ? resultsFrom(this.conversation, message) : [];
    const behind = results.slice(1).map(({ role, callId, content }) => ({ role, callId, content }));
    const said = message.role === "tool" ? { role: message.role, callId: message.callId, content: text } : { role: /** @type {const} */ ("user"), content: text };
    this.#ask(message.parent, [said, ...behind]);
  }

  /**
   * Hands the results of an answer's calls to the model, in their order.
   * @param {Answer} answer
   * @param {string[]} results
   */
  answerCalls(answer, results) {
    this.#ask(answer.id, answer.calls.map((call, index) => ({ role: "tool", callId: call.id, content: results[index] })));
  }

  /** Has an answer written again, beside the one that is there. @param {Message} answer */
  retry(answer) {
    this.#ask(answer.parent, []);
  }

  /** Has the last shown message answered; an answer is written again. */
  resume() {
    const last = shownMessages(this.conversation).at(-1);
    return last?.role === "assistant" ? this.retry(last) : this.#ask(this.conversation.leaf, []);
  }

  /** Shows the branch through a message. @param {string} id */
  show(id) {
    this.#set(showing(this.conversation, id));
  }

  /** Stops the answer to the open conversation; what came so far stays. */
  stop() {
    this.answering.get(this.conversation.id)?.controller.abort();
  }

  /** Sets the settings of this conversation and of those begun later. @param {Settings} settings */
  configure(settings) {
    this.#lastSettings.set(settings);
    this.conversation = { ...this.conversation, settings };
    if (this.keeps(this.conversation.id)) this.#conversations.keep(this.conversation);
    this.emit("settings");
  }

  /**
   * Gives a kept conversation another title.
   * @param {string} id
   * @param {string} title
   */
  rename(id, title) {
    this.#change(id, (conversation) => ({ ...conversation, title }));
  }

  /** Deletes a kept conversation, and stops its answer. @param {string} id */
  remove(id) {
    this.#conversations.remove(id);
    this.#leave(id);
  }

  /** Keeps conversations that were read from a file. @param {Conversation[]} conversations */
  adopt(conversations) {
    this.#conversations.keep(...conversations);
  }

  /**
   * Adds messages below `parent` and asks the model for the next one.
   * @param {string | null} parent
   * @param {NewMessage[]} messages
   */
  #ask(parent, messages) {
    const wrong = firstComplaint(this.conversation.settings, this.bounds);
    if (wrong) this.emit("problem", { problem: new Problem("The settings cannot be sent.", wrong, "settings") });
    if (wrong || this.busy) return;
    this.emit("problem", null);
    let conversation = { ...this.conversation, leaf: parent };
    for (const fields of messages) conversation = withMessage(conversation, conversation.leaf, fields, Date.now());
    this.#set(conversation);
    this.#answer(conversation);
  }

  /** Goes on with the answers that a reload of the page interrupted: the server sends them again. */
  #pickUp() {
    for (const [id, { run, parent }] of begunRuns.all()) {
      const kept = this.#conversations.get(id);
      if (!kept) continue;
      this.#conversations.hold(withoutAnswer(kept, parent, run));
      this.answering.follow(id, newRun(parent, run, kept), () => Promise.resolve(null));
    }
  }

  /** @param {Conversation} conversation */
  #answer({ id, leaf, settings, messages }) {
    this.answering.follow(id, newRun(leaf), async () => answerBody(await this.#modelId(), branchTo(messages, leaf), settings, this));
  }

  /** @param {string} id @param {Run} run */
  #grown(id, run) {
    const now = performance.now();
    if (this.conversation.id === id) this.emit("chunk");
    const kept = this.#conversations.get(id);
    if (now - run.storedAt > STORE_EVERY && kept) {
      run.storedAt = now;
      this.#conversations.storeQuietly(answered(kept, run, "failed"));
    }
  }

  /** @param {string} id @param {Run} run @param {"stopped" | "failed" | null} finish null where the model ended the answer @param {Problem | null} problem */
  #end(id, run, finish, problem) {
    if (problem && this.conversation.id === id) this.emit("problem", { problem, retry: () => this.resume() });
    const nothing = finish !== null && isEmpty(run);
    const conversation = this.#change(id, (kept) => (nothing ? unanswered(kept, run) : answered(kept, run, finish)));
    if (nothing) return;
    const answer = conversation?.messages.at(-1);
    if (this.conversation.id === id && answer?.role === "assistant") this.emit("finish", answer);
  }

  /** @param {string} id @param {(conversation: Conversation) => Conversation} change */
  #change(id, change) {
    const kept = this.#conversations.get(id);
    if (!kept) return null;
    const conversation = change(kept);
    this.#conversations.keep(conversation);
    if (this.conversation.id === id) this.#open(conversation);
    return conversation;
  }

  /** @param {Conversation} conversation */
  #set(conversation) {
    this.#conversations.keep(conversation);
    this.#open(conversation);
  }

  /** @param {Conversation} conversation */
  #open(conversation) {
    if (conversation.id !== this.conversation.id) this.emit("problem", null);
    this.conversation = conversation;
    this.emit("conversation");
  }

  /**
   * Takes over what another tab stored. The branch shown here stays, and goes on as far as it does there; an answer written here is not taken from there.
   * @param {Conversation} theirs
   */
  #merge(theirs) {
    const { id } = theirs;
    const [ours, run] = [this.#conversations.get(id), this.answering.get(id)];
    const both = ours ? joined(ours, theirs, run?.id) : theirs;
    this.#conversations.hold(both);
    if (this.conversation.id === id) this.#open(both);
  }

  /** Stops the answer of a deleted conversation, and opens another one. @param {string} id */
  #leave(id) {
    this.answering.get(id)?.controller.abort();
    if (this.conversation.id === id) this.begin();
  }
}
