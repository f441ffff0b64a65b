/** Server-sent events: bytes of a response become the JSON values that its events carry. */

const END = "[DONE]";

/**
 * Yields every event's data as parsed JSON; it skips comments (keep-alives) and `[DONE]`.
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @returns {AsyncGenerator<unknown, void>}
 */
export async function* jsonEvents(body) {
  for await (const data of eventData(body)) {
    if (data !== END) yield JSON.parse(data);
  }
}

/**
 * Yields the data of every event as text: its `data:` lines joined by newlines.
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 */
async function* eventData(body) {
  /** @type {string[]} */
  let data = [];
  for await (const line of lines(body)) {
    if (line === "") {
      if (data.length) yield data.join("\n");
      data = [];
    } else if (line.startsWith("data:")) {
      data.push(line.slice(line[5] === " " ? 6 : 5));
    }
  }
}

/**
 * Yields lines without their ends; it drops an incomplete last line.
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 */
async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r\n|\n|\r(?=[^\n])/);
      rest = parts.pop() ?? "";
      yield* parts;
    }
  } finally {
    reader.cancel().catch(() => {}); // the stream may have failed, which the reader was told
  }
}
