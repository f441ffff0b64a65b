// The key by which nginx chooses a server: of a conversation its beginning, up to the first message of the user.

const CONVERSATIONS = /^\/(v1\/(chat\/completions|completions|responses|messages)|api\/(chat|generate))$/;
const MOST = 4096; // characters of a text without messages

function key(r) {
  if (!CONVERSATIONS.test(r.uri)) {
    return r.remoteAddress; // the page's answers, files and batches lie on one server
  }
  try {
    return beginning(JSON.parse(r.requestText));
  } catch (error) {
    return r.remoteAddress; // no JSON: the server says why it refuses that
  }
}

function beginning(body) {
  if (body.prompt_cache_key) {
    return String(body.prompt_cache_key);
  }
  const messages = Array.isArray(body.messages) ? body.messages : Array.isArray(body.input) ? body.input : null;
  if (messages === null) {
    return JSON.stringify(body.input || body.prompt || "").slice(0, MOST);
  }
  const first = messages.findIndex((message) => message && message.role === "user");
  const opening = messages.slice(0, first + 1);
  return JSON.stringify([body.system || body.instructions || "", opening.map((one) => [one.role, text(one.content)])]);
}

// A message's text, whether it comes as a text or in parts: marks such as cache_control move from turn to turn.
function text(content) {
  if (!Array.isArray(content)) {
    return content;
  }
  return content.map((part) => (part && part.text) || "").join("\n");
}

export default { key };
