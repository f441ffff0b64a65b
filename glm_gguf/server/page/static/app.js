/** The page put together: what is kept, the server, and the views of both. */

import { ArchiveError, archived, unarchived } from "./chat/archive.js";
import { apiKey, lastSettings } from "./chat/preferences.js";
import { Player } from "./chat/player.js";
import { Session } from "./chat/session.js";
import { Shelf } from "./chat/shelf.js";
import { startArtifacts } from "./view/artifact.js";
import { say, startAnnouncer } from "./view/announcer.js";
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
import { Transcript } from "./view/transcript.js";
import { drawWelcome } from "./view/welcome.js";
import { answerChunks, fetchModel, runCall, thinks } from "./wire/api.js";
import { Problem } from "./wire/problem.js";

const shelf = await Shelf.open().catch(() => null);
/** Milliseconds between questions whether the model is loaded. */
const LOADING_POLL = 1500;
let model = null;
let poll = 0;

const session = new Session(shelf, (body, signal) => answerChunks(body, apiKey.get(), signal), lastSettings, async () => (model ??= await fetchModel(apiKey.get())).id);
new Player(session, (call) => runCall(call, apiKey.get()));
const transcript = new Transcript(session, () => composer.focus());
const composer = new Composer(session, transcript);
const meter = new Meter(session);
const panel = new Panel(session, () => {
  showProblem(null);
  meet();
});

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
  startShortcuts({ leave: () => closeOverlays() || session.stop(), fresh, search, settings: () => drawers.panel.toggle.click() });
  listen();
  if (!shelf) sayUnkept();
  session.load();
  meet();
}

function listen() {
  session.addEventListener("problem", ({ detail }) => showProblem(detail, { settings: () => drawers.panel.open(), retry: () => session.resume() }));
  session.addEventListener("conversation", nameConversation);
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

/** Asks the server for its model, and tells the views. */
async function meet(state = "Asking the server for its model…") {
  clearTimeout(poll);
  drawWelcome(model, state, suggest);
  try {
    model = await fetchModel(apiKey.get());
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.code === "model_loading") return void (poll = setTimeout(meet, LOADING_POLL, "The server is loading its model…"));
    drawWelcome(model, error.message, suggest);
    return showProblem(error, { settings: () => drawers.panel.open(), retry: meet });
  }
  byId("model-name").textContent = model.id;
  meter.setContextSize(model.contextSize);
  panel.setThinks(thinks(model));
  session.serverTools = model.tools;
  panel.setServerTools(model.tools);
  return drawWelcome(model, "", suggest);
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
