/** The page put together: storage, the server, and the views of both. */

import { exportText, importFile } from "./chat/export.js";
import { apiKey, chosenModel, lastSettings } from "./chat/preferences.js";
import { Session } from "./chat/session.js";
import { ConversationStorage } from "./chat/storage.js";
import { ToolRunner } from "./chat/tool_runner.js";
import { InvalidError } from "./chat/sound.js";
import { ActiveSettings } from "./view/active_settings.js";
import { announce, startAnnouncer } from "./view/announcer.js";
import { startArtifacts } from "./view/artifact.js";
import { Composer } from "./view/composer.js";
import { ConversationList } from "./view/conversation_list.js";
import { byId, icon, isIconName } from "./view/dom.js";
import { closeOverlays, drawers, startDrawers } from "./view/drawers.js";
import { chooseFile, onChosenFile, save } from "./view/files.js";
import { clearNotice, showProblem } from "./view/notice.js";
import { ModelSelect } from "./view/model_select.js";
import { SettingsPanel } from "./view/settings_panel.js";
import { ResearchSwitch } from "./view/research_switch.js";
import { showShortcuts, startShortcuts } from "./view/shortcuts.js";
import { startThemeSwitch } from "./view/theme_switch.js";
import { TokenMeter } from "./view/token_meter.js";
import { Transcript } from "./view/transcript.js";
import { startUrlHash } from "./view/url_hash.js";
import { drawWelcome } from "./view/welcome.js";
import { answerChunks, fetchBounds, fetchModels, runCall, thinks } from "./wire/api.js";
import { Problem } from "./wire/problem.js";

const storage = await ConversationStorage.open().catch(() => null);
/** Milliseconds between questions whether the model is loaded. */
const LOADING_POLL = 1500;
const LOST = new Problem("This browser has no conversation with that address.", "It was deleted, or it is in another browser: export it there, and import the file here.");
/** @type {import("./wire/api.js").Model | null} the one that answers */
let model = null;
/** @type {import("./wire/api.js").Model[]} */
let models = [];
/** @type {number | undefined} */
let poll;

const session = new Session(storage, (id, body, signal) => answerChunks(id, body, apiKey.get(), signal), lastSettings, async () => (model ?? await readModels()).id);
const runner = new ToolRunner(session, (call) => runCall(call, apiKey.get()));
const transcript = new Transcript(session, (answer) => runner.isRunning(answer), () => composer.focus());
const composer = new Composer(session, transcript);
const meter = new TokenMeter(session);
const select = new ModelSelect(chooseModel, refreshModels);
const panel = new SettingsPanel(session, useKey);
const researchSwitch = new ResearchSwitch(session);
const activeSettings = new ActiveSettings(session, () => drawers.panel.open());

function start() {
  for (const button of document.querySelectorAll("button")) {
    if (isIconName(button.dataset.icon)) button.prepend(icon(button.dataset.icon));
  }
  new ConversationList(session, closeOverlays);
  startDrawers();
  startThemeSwitch();
  startArtifacts();
  startAnnouncer(session, (answer) => runner.isRunning(answer));
  startUrlHash(session, closeOverlays, () => showProblem(LOST, {}));
  startShortcuts({ leave: () => closeOverlays() || session.stop(), newChat, search, settings: () => drawers.panel.toggle?.click() });
  listen();
  if (!storage) sayNotKept();
  session.load();
  connect();
}

function listen() {
  session.on("problem", (detail) => {
    if (!detail) return clearNotice();
    const { problem, retry } = detail;
    return showProblem(problem, { settings: () => drawers.panel.open(), retry, key: (key) => useKey(key, retry) });
  });
  session.on("conversation", showTitle);
  session.on("finish", () => model?.contextSize === null && refreshModels()); // it was loaded for this answer
  window.addEventListener("pagehide", () => { session.answering.leaving = true; });
  window.addEventListener("pageshow", () => { session.answering.leaving = false; });
  byId("skip").addEventListener("click", skip);
  byId("new-chat").addEventListener("click", newChat);
  byId("close-sidebar").addEventListener("click", () => drawers.sidebar.close());
  byId("show-shortcuts").addEventListener("click", showShortcuts);
  byId("import").addEventListener("click", chooseFile);
  byId("export-all").addEventListener("click", () => save("conversations.json", exportText(session.kept), "application/json"));
  onChosenFile(importConversations);
}

/** Says it below the message box too: the list of conversations may be out of sight. */
function sayNotKept() {
  byId("kept").textContent = "Not kept: the browser stores nothing for this page.";
  byId("caution").classList.add("unkept");
  byId("caution").append(" This browser keeps no conversations: export what matters.");
}

/**
 * Stores an API key, and asks the server again.
 * @param {string} key
 * @param {() => void} [then] what failed without the key
 */
function useKey(key, then) {
  apiKey.set(key);
  panel.showKey();
  clearNotice();
  connect(then);
}

/**
 * Asks the server for its model, and shows it.
 * @param {() => void} [then] what waits for the model
 * @param {string} state of the server, shown until it has answered
 * @returns {Promise<void>}
 */
async function connect(then, state = "Asking the server for its model…") {
  clearTimeout(poll);
  drawWelcome(model, state, suggest);
  try {
    await readModels();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.code === "model_loading") {
      poll = setTimeout(() => connect(then, "The server is loading its model…"), LOADING_POLL);
      return undefined;
    }
    drawWelcome(model, error.message, suggest);
    return showProblem(error, { retry: () => connect(then), key: (key) => useKey(key, then) });
  }
  fetchBounds(apiKey.get()).then((bounds) => {
    session.bounds = bounds;
    session.emit("settings");
  });
  return then?.();
}

/** Asks for the models, and shows the one that answers. */
async function readModels() {
  models = await fetchModels(apiKey.get());
  return showModel();
}

/** Shows the model that was chosen last, else one that is loaded. */
function showModel() {
  const wanted = [chosenModel.get(), model?.id].find((name) => models.some(({ id }) => id === name));
  const chosen = models.find(({ id, state }) => (wanted ? id === wanted : state === "ready")) ?? models[0];
  model = chosen;
  select.draw(models, chosen);
  meter.setContextSize(chosen.contextSize);
  panel.setThinks(thinks(chosen));
  session.serverTools = chosen.tools;
  session.servers = chosen.servers;
  session.researches = chosen.researches;
  researchSwitch.draw();
  panel.setServerTools(chosen.tools, chosen.servers);
  activeSettings.draw();
  drawWelcome(chosen, "", suggest);
  return chosen;
}

/** Asks again what is loaded; a server that does not answer is told where it matters. */
async function refreshModels() {
  try {
    await readModels();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}

/** @param {string} id */
function chooseModel(id) {
  chosenModel.set(id);
  showModel();
}

/** @param {import("./chat/examples.js").Suggestion} suggestion */
function suggest({ text, tools }) {
  const { settings } = session.conversation;
  if (tools && !settings.tools.trim()) session.configure({ ...settings, tools });
  composer.suggest(text);
}

function newChat() {
  drawers.artifact.close();
  session.begin();
  closeOverlays();
  composer.focus();
}

/**
 * Follows the link to the message box without its address: the URL's hash is a conversation's id.
 * @param {Event} event
 */
function skip(event) {
  event.preventDefault();
  composer.focus();
}

function search() {
  drawers.sidebar.open();
  byId("search").focus();
}

/** @param {File} file */
async function importConversations(file) {
  try {
    const conversations = await importFile(file, Date.now());
    session.adopt(conversations);
    if (conversations.length) session.open(conversations[0].id);
    clearNotice();
    announce(conversations.length === 1 ? "One conversation imported." : `${conversations.length} conversations imported.`);
  } catch (error) {
    if (!(error instanceof InvalidError)) throw error;
    showProblem(new Problem("The file was not imported.", error.message), {});
  }
}

function showTitle() {
  const { title } = session.conversation;
  byId("title").textContent = title;
  document.title = `${title} · glm-gguf`;
}

start();
