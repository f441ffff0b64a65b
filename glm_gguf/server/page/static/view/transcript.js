/** The shown branch of a conversation, message by message; what has not changed is not touched. */

import { byParent, shownMessages } from "../chat/conversation.js";
import { byId } from "./dom.js";
import { messageView } from "./message.js";
import { RunningAnswer } from "./running_answer.js";

/** Pixels from the end within which a reader counts as following the answer. */
const NEAR = 80;

/** Shows a session's conversation and keeps the end in sight for whoever looks at it. */
export class Transcript {
  #session;
  #scroller = byId("transcript");
  #list = byId("messages");
  #jump = byId("jump");
  /** @type {Map<string, HTMLElement>} by what their look depends on */
  #drawn = new Map();
  /** @type {RunningAnswer | null} */
  #running = null;
  #shownId = null;
  #following = true;

  /** @param {import("../chat/session.js").Session} session @param {() => void} onasked called when an answer is asked for from here */
  constructor(session, onasked) {
    this.#session = session;
    this.deeds = {
      retry: (message) => this.#asked(onasked, session.retry(message)),
      edit: (message, text) => this.#asked(onasked, session.edit(message, text)),
      resume: () => this.#asked(onasked, session.resume()),
      answerCalls: (message, results) => this.#asked(onasked, session.answerCalls(message, results)),
      turn: (message, step) => this.#turn(message, step),
    };
    session.addEventListener("conversation", () => this.#draw());
    session.addEventListener("reply", () => this.#running?.changed());
    this.#scroller.addEventListener("scroll", () => this.#looked(), { passive: true });
    this.#jump.addEventListener("click", () => this.follow());
    this.#draw();
  }

  /** Goes to the end and stays there. */
  follow() {
    this.#following = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#looked();
  }

  /** Opens the editor of the last message that its reader said. */
  editLast() {
    [...this.#list.querySelectorAll(".message.user [data-edit]")].at(-1)?.click();
  }

  #draw() {
    const { conversation, run, busy } = this.#session;
    const messages = shownMessages(conversation);
    const places = byParent(conversation);
    const names = callNames(messages);
    const drawn = new Map(messages.map((message, index) => {
      const place = { alternatives: places.get(message.parent), last: index === messages.length - 1 && !busy, toolName: names[index] };
      return this.#item(message, place);
    }));
    this.#drawn = drawn;
    this.#reconcile([...drawn.values(), ...this.#runningItem(run)]);
    byId("welcome").hidden = messages.length > 0;
    if (this.#shownId !== conversation.id) this.#following = true;
    this.#shownId = conversation.id;
    if (messages.length) this.#keepUp();
  }

  #item(message, place) {
    const { alternatives, last } = place;
    const key = [message.id, message.finish, message.content.length, alternatives.indexOf(message), alternatives.length, last].join(" ");
    const thoughtOpen = this.#running?.run.parent === message.parent && this.#running.thoughtOpen;
    return [key, this.#drawn.get(key) ?? messageView(message, { ...place, thoughtOpen }, this.deeds)];
  }

  #runningItem(run) {
    if (!run) this.#running = null;
    else if (this.#running?.run !== run) this.#running = new RunningAnswer(run, () => this.#keepUp());
    return this.#running ? [this.#running.element] : [];
  }

  #reconcile(items) {
    const wanted = new Set(items);
    [...this.#list.children].filter((child) => !wanted.has(child)).forEach((child) => child.remove());
    items.forEach((item, index) => {
      if (this.#list.children[index] !== item) this.#list.insertBefore(item, this.#list.children[index] ?? null);
    });
  }

  async #asked(onasked, answer) {
    this.#following = true;
    onasked();
    await answer;
  }

  #turn(message, step) {
    const others = byParent(this.#session.conversation).get(message.parent);
    const other = others[others.findIndex(({ id }) => id === message.id) + step];
    this.#following = false;
    this.#session.show(other.id);
    const buttons = [...this.#list.querySelectorAll(`[data-message="${other.id}"] [data-turn]`)];
    (buttons.find((button) => button.dataset.turn === String(step) && !button.disabled) ?? buttons.find((button) => !button.disabled))?.focus();
  }

  #looked() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#following = scrollHeight - scrollTop - clientHeight < NEAR;
    this.#jump.hidden = this.#following;
  }

  #keepUp() {
    if (this.#following) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#looked();
  }
}

/** Returns, for each message, the name of the function whose result it may be. */
function callNames(messages) {
  const names = new Map();
  return messages.map(({ callId, calls = [] }) => {
    calls.forEach((call) => names.set(call.id, call.name));
    return names.get(callId) ?? "a tool";
  });
}
