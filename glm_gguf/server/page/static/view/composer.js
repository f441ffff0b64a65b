/** The box in which a person writes a message. */

import { byId, icon } from "./dom.js";

/** Sends the message, stops the answer, and grows with the text. */
export class Composer {
  #session;
  #draft = byId("draft", HTMLTextAreaElement);
  #send = byId("send", HTMLButtonElement);
  #stop = byId("stop");

  /** @param {import("../chat/session.js").Session} session @param {import("./transcript.js").Transcript} transcript */
  constructor(session, transcript) {
    this.#session = session;
    this.#send.append(icon("send"));
    this.#stop.append(icon("stop"));
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(transcript);
    });
    this.#stop.addEventListener("click", () => {
      session.stop();
      this.focus();
    });
    this.#draft.addEventListener("keydown", (event) => this.#key(event, transcript));
    this.#draft.addEventListener("input", () => this.#changed());
    session.on("conversation", () => this.#changed());
    this.#changed();
  }

  focus() {
    this.#draft.focus();
  }

  /**
   * Puts a text into the box, for the user to send.
   * @param {string} text
   */
  suggest(text) {
    this.#draft.value = text;
    this.#changed();
    this.focus();
  }

  /** @param {import("./transcript.js").Transcript} transcript */
  #submit(transcript) {
    const text = this.#draft.value;
    if (!text.trim() || this.#session.busy) return;
    transcript.follow();
    this.#session.send(text);
    if (!this.#session.busy) return;
    this.#draft.value = "";
    this.#changed();
  }

  /**
   * Handles a key; while an input method composes, Enter belongs to it.
   * @param {KeyboardEvent} event
   * @param {import("./transcript.js").Transcript} transcript
   */
  #key(event, transcript) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submit(transcript);
    } else if (event.key === "ArrowUp" && this.#draft.value === "" && !this.#session.busy) {
      event.preventDefault();
      transcript.editLast();
    }
  }

  #changed() {
    const { busy } = this.#session;
    this.#stop.hidden = !busy;
    this.#send.hidden = busy;
    this.#send.disabled = !this.#draft.value.trim();
    if (CSS.supports("field-sizing", "content")) return;
    this.#draft.style.height = "auto";
    this.#draft.style.height = `${this.#draft.scrollHeight}px`;
  }
}
