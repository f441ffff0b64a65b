/** The box in which a person writes. */

import { byId, icon } from "./dom.js";

/** Sends what is written, stops what is being written, and grows with its text. */
export class Composer {
  #session;
  #draft = byId("draft");
  #send = byId("send");
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
    session.addEventListener("conversation", () => this.#changed());
    this.#changed();
  }

  focus() {
    this.#draft.focus();
  }

  /** Puts a text into the box, for its reader to send. */
  suggest(text) {
    this.#draft.value = text;
    this.#changed();
    this.focus();
  }

  #submit(transcript) {
    const text = this.#draft.value;
    if (!text.trim() || this.#session.busy) return;
    transcript.follow();
    this.#session.send(text);
    if (!this.#session.busy) return;
    this.#draft.value = "";
    this.#changed();
  }

  /** While an input method composes, Enter is its key. */
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
