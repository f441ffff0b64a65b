/** The page put together: what is kept, the server, and the views of both. */

import { ArchiveError, archived, unarchived } from "./chat/archive.js";
import { apiKey, lastSettings } from "./chat/preferences.js";
import { Player } from "./chat/player.js";
import { Session } from "./chat/session.js";
import { Shelf } from "./chat/shelf.js";
import { startArtifacts } from "./view/artifact.js";
import { say, startAnnouncer } from "./view/announcer.js";
import { startAddress } from "./view/address.js";
import { Composer } from "./view/composer.js";
import { ConversationList } from "./view/conversation_list.js";
import { byId, icon } from "./view/dom.js";
import { closeOverlays, drawers, startDrawers } from "./view/drawers.js";
import { chooseFile, onChosenFile, save } from "./view/files.js";
import { Meter } from "./view/meter.js";
import { showProblem } from "./view/notice.js";
import { Panel } from "./view/panel.js";
import { showShortcuts, startShortcuts } from "./view/shortcuts.js";
import { startThemeSwitch } from "./view/theme_switch.js";
import { Sign } from "./view/sign.js";
import { Transcript } from "./view/transcript.js";
import { drawWelcome } from "./view/welcome.js";
import { answerChunks, fetchModel, runCall, thinks } from "./wire/api.js";
import { Problem } from "./wire/problem.js";

const shelf = await Shelf.open().catch(() => null);
/** Milliseconds between questions whether the model is loaded. */
const LOADING_POLL = 1500;
const LOST = new Problem("This browser keeps no conversation of that address.", "It was deleted, or begun in another browser: export it there, and import the file here.");
let model = null;
let poll = 0;

const session = new Session(shelf, (body, signal) => answerChunks(body, apiKey.get(), signal), lastSettings, async () => (model ??= await fetchModel(apiKey.get())).id);
new Player(session, (call) => runCall(call, apiKey.get()));
const transcript = new Transcript(session, () => composer.focus());
const composer = new Composer(session, transcript);
const meter = new Meter(session);
const panel = new Panel(session, useKey);
const sign = new Sign(session, () => drawers.panel.open());

function start() {
  document.querySelectorAll("[data-icon]").forEach((button) => button.prepend(icon(button.dataset.icon)));
  byId("toggle-sidebar").append(icon("menu"));
  byId("close-sidebar").append(icon("close"));
  byId("toggle-panel").append(icon("sliders"));
  new ConversationList(session, closeOverlays);
  startDrawers();
  startThemeSwitch();
  startArtifacts();
  startAnnouncer(session);
  startAddress(session, closeOverlays, () => showProblem(LOST, {}));
  startShortcuts({ leave: () => closeOverlays() || session.stop(), fresh, search, settings: () => drawers.panel.toggle.click() });
  listen();
  if (!shelf) sayUnkept();
  session.load();
  meet();
}

function listen() {
  session.addEventListener("problem", ({ detail }) => showProblem(detail, { settings: () => drawers.panel.open(), retry: () => session.resume(), key: (key) => useKey(key, () => session.resume()) }));
  session.addEventListener("conversation", nameConversation);
  document.querySelector(".skip").addEventListener("click", skip);
  byId("new-chat").addEventListener("click", fresh);
  byId("close-sidebar").addEventListener("click", () => drawers.sidebar.close());
  byId("show-shortcuts").addEventListener("click", showShortcuts);
  byId("import").addEventListener("click", chooseFile);
  byId("export-all").addEventListener("click", () => save("conversations.json", archived(session.kept), "application/json"));
  onChosenFile(take);
}

/** The list of conversations may be out of sight, the line below the message box is not. */
function sayUnkept() {
  byId("kept").textContent = "Not kept: the browser stores nothing for this page.";
  byId("caution").classList.add("unkept");
  byId("caution").append(" This browser keeps no conversations: export what matters.");
}

/** Takes an API key, and goes on where one was missing. */
function useKey(key, then) {
  apiKey.set(key);
  panel.showKey();
  showProblem(null);
  meet(then);
}

/** Asks the server for its model, tells the views, and does what waits for that. */
async function meet(then = () => {}, state = "Asking the server for its model…") {
  clearTimeout(poll);
  drawWelcome(model, state, suggest);
  try {
    model = await fetchModel(apiKey.get());
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.code === "model_loading") return void (poll = setTimeout(meet, LOADING_POLL, then, "The server is loading its model…"));
    drawWelcome(model, error.message, suggest);
    return showProblem(error, { retry: () => meet(then), key: (key) => useKey(key, then) });
  }
  byId("model-name").textContent = model.id;
  meter.setContextSize(model.contextSize);
  panel.setThinks(thinks(model));
  session.serverTools = model.tools;
  panel.setServerTools(model.tools);
  sign.draw();
  drawWelcome(model, "", suggest);
  return then();
}

function suggest({ text, tools }) {
  const { settings } = session.conversation;
  if (tools && !settings.tools.trim()) session.configure({ ...settings, tools });
  composer.suggest(text);
}

function fresh() {
  drawers.artifact.close();
  session.begin();
  closeOverlays();
  composer.focus();
}

/** Addresses behind `#` are those of conversations. */
function skip(event) {
  event.preventDefault();
  composer.focus();
}

function search() {
  drawers.sidebar.open();
  byId("search").focus();
}

async function take(file) {
  try {
    const conversations = await unarchived(file, Date.now());
    session.adopt(conversations);
    if (conversations.length) session.open(conversations[0].id);
    showProblem(null);
    say(conversations.length === 1 ? "One conversation imported." : `${conversations.length} conversations imported.`);
  } catch (error) {
    if (!(error instanceof ArchiveError)) throw error;
    showProblem(new Problem("The file was not imported.", error.message), {});
  }
}

function nameConversation() {
  const { title } = session.conversation;
  byId("title").textContent = title;
  document.title = `${title} · glm-gguf`;
}

start();
