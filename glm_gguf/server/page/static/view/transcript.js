/** The shown branch of a conversation, message by message; unchanged messages keep their elements. */

import { byParent, shownMessages } from "../chat/conversation.js";
import { reportMarkdown } from "../chat/trail.js";
import { byId } from "./dom.js";
import { fileName, save } from "./files.js";
import { messageView } from "./message.js";
import { RunningAnswer } from "./running_answer.js";

/**
 * @typedef {import("../chat/conversation.js").Message} Message
 * @typedef {import("./message.js").Place} Place
 */

/** Pixels from the end within which a reader counts as following the answer. */
const NEAR = 80;

/** Shows a session's conversation, and scrolls along for a reader at its end. */
export class Transcript {
  #session;
  #isRunning;
  #scroller = byId("transcript");
  #list = byId("messages");
  #jump = byId("jump");
  /** @type {Map<string, HTMLElement>} by what their look depends on */
  #drawn = new Map();
  /** @type {RunningAnswer | null} */
  #running = null;
  /** @type {string | null} */
  #shownId = null;
  #following = true;

  /**
   * @param {import("../chat/session.js").Session} session
   * @param {(answer: import("../chat/conversation.js").Answer) => boolean} isRunning says whether the server runs an answer's calls
   * @param {() => void} onasked called when the user asks for an answer from here
   */
  constructor(session, isRunning, onasked) {
    this.#session = session;
    this.#isRunning = isRunning;
    const ask = (/** @type {() => void} */ act) => {
      this.#following = true;
      onasked();
      act();
    };
    /** @type {import("./message.js").Actions} */
    this.actions = {
      retry: (answer) => ask(() => session.retry(answer)),
      edit: (message, text) => ask(() => session.edit(message, text)),
      resume: () => ask(() => session.resume()),
      answerCalls: (answer, results) => ask(() => session.answerCalls(answer, results)),
      saveReport: (answer) => this.#saveReport(answer),
      turn: (message, step) => this.#turn(message, step),
    };
    session.on("conversation", () => this.#draw());
    session.on("chunk", () => this.#running?.changed());
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#jump.addEventListener("click", () => this.follow());
    this.#draw();
  }

  /** Scrolls to the end and stays there. */
  follow() {
    this.#following = true;
    this.#scrollAlong();
  }

  /** Opens the editor of the user's last message. */
  editLast() {
    this.#buttons(".message.user [data-edit]").at(-1)?.click();
  }

  /** @param {string} selector */
  #buttons(selector) {
    /** @type {NodeListOf<HTMLButtonElement>} */
    const found = this.#list.querySelectorAll(selector);
    return [...found];
  }

  #draw() {
    const { conversation, run, busy } = this.#session;
    const messages = shownMessages(conversation);
    const places = byParent(conversation);
    const names = callNames(messages);
    this.#drawn = new Map(messages.map((message, index) => {
      const thoughtOpen = this.#running?.run.parent === message.parent && this.#running.thoughtOpen;
      const last = index === messages.length - 1 && !busy;
      const running = last && message.role === "assistant" && this.#isRunning(message);
      return this.#item(message, { alternatives: places.get(message.parent) ?? [], last, running, toolName: names[index], thoughtOpen });
    }));
    this.#reconcile([...this.#drawn.values(), ...this.#runningItem(run)]);
    byId("welcome").hidden = messages.length > 0;
    if (this.#shownId !== conversation.id) this.#following = true;
    this.#shownId = conversation.id;
    if (messages.length) this.#scrollAlong();
  }

  /**
   * @param {Message} message
   * @param {Place} place
   * @returns {[string, HTMLElement]}
   */
  #item(message, place) {
    const { alternatives, last, running } = place;
    const finish = message.role === "assistant" ? message.finish : null;
    const key = [message.id, finish, message.content.length, alternatives.indexOf(message), alternatives.length, last, running].join(" ");
    return [key, this.#drawn.get(key) ?? messageView(message, place, this.actions)];
  }

  /** @param {import("../chat/run.js").Run | null} run */
  #runningItem(run) {
    if (!run) this.#running = null;
    else if (this.#running?.run !== run) this.#running = new RunningAnswer(run, () => this.#scrollAlong());
    return this.#running ? [this.#running.element] : [];
  }

  /** @param {HTMLElement[]} items */
  #reconcile(items) {
    /** @type {Set<Element>} */
    const wanted = new Set(items);
    [...this.#list.children].filter((child) => !wanted.has(child)).forEach((child) => child.remove());
    items.forEach((item, index) => {
      if (this.#list.children[index] !== item) this.#list.insertBefore(item, this.#list.children[index] ?? null);
    });
  }

  /** @param {import("../chat/conversation.js").Answer} answer */
  #saveReport({ parent, content, trail }) {
    const question = this.#session.conversation.messages.find(({ id }) => id === parent)?.content ?? "";
    save(fileName(question.slice(0, 60), "md"), reportMarkdown(question, content, trail), "text/markdown");
  }

  /** @param {Message} message @param {-1 | 1} step */
  #turn(message, step) {
    const alternatives = byParent(this.#session.conversation).get(message.parent) ?? [];
    const other = alternatives[alternatives.findIndex(({ id }) => id === message.id) + step];
    this.#following = false;
    this.#session.show(other.id);
    const buttons = this.#buttons(`[data-message="${other.id}"] [data-turn]`).filter((button) => !button.disabled);
    (buttons.find((button) => button.dataset.turn === String(step)) ?? buttons[0])?.focus();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#following = scrollHeight - scrollTop - clientHeight < NEAR;
    this.#jump.hidden = this.#following;
  }

  #scrollAlong() {
    if (this.#following) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#scrolled();
  }
}

/**
 * Returns, for each message, the name of the function whose result it may be.
 * @param {Message[]} messages
 */
function callNames(messages) {
  /** @type {Map<string, string>} */
  const names = new Map();
  return messages.map((message) => {
    if (message.role === "assistant") message.calls.forEach((call) => names.set(call.id, call.name));
    return (message.role === "tool" && names.get(message.callId)) || "a tool";
  });
}
