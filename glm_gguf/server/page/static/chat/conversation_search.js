/** The search among conversations: what of one is searched. */

/**
 * Says whether any message or the title contains the words, in any case.
 * @param {import("./conversation.js").Conversation} conversation
 * @param {string} words
 */
export function mentions(conversation, words) {
  const wanted = words.trim().toLowerCase();
  return [conversation.title, ...conversation.messages.map((message) => message.content)].some((text) => text.toLowerCase().includes(wanted));
}
