/**
 * Shows what a model drew in a frame that reaches neither the network nor this page.
 *
 * Three layers isolate it. The frame is sandboxed: scripts run in an origin of their own, without popups, forms or
 * downloads. The server sends its document under a policy that forbids every request (policies.py). This page's policy
 * lets its frames load that document only, so no link, redirect or script carries anything out.
 */

import { drawers } from "./drawers.js";
import { byId, element, iconButton } from "./dom.js";
import { fileName, save } from "./files.js";

const DOCUMENT = new URL("page/artifact.html", document.baseURI);
/** @typedef {import("../markdown/code_block.js").ArtifactKind} ArtifactKind */

/** @type {Record<ArtifactKind, {label: string, type: string, ending: string}>} */
const KINDS = { html: { label: "Page", type: "text/html", ending: "html" }, svg: { label: "Image", type: "image/svg+xml", ending: "svg" } };

/** Confines this page's frames; for a host that is an IPv6 address, which a policy cannot spell, `'self'` has to do. */
export function confineFrames() {
  if (DOCUMENT.hostname.startsWith("[")) return;
  document.head.append(element("meta", { "http-equiv": "Content-Security-Policy", content: `frame-src ${DOCUMENT.origin}${DOCUMENT.pathname}` }));
}

/** Shows the artifact of every `artifact` event on the page. */
export function startArtifacts() {
  confineFrames();
  document.addEventListener("artifact", (event) => {
    const { code, kind } = /** @type {CustomEvent<{code: string, kind: ArtifactKind}>} */ (event).detail;
    show(code, kind);
  });
}

/** @param {string} code @param {ArtifactKind} kind */
function show(code, kind) {
  const { label, type, ending } = KINDS[kind];
  const title = titleOf(code) ?? label;
  const frame = () => isolatedFrame(kind === "svg" ? aroundImage(code) : code, title);
  const reload = () => panel.querySelector("iframe")?.replaceWith(frame());
  const panel = byId("artifact");
  const head = element("div", { class: "panel-head" },
    element("h2", {}, title),
    iconButton("retry", "Run again", reload),
    iconButton("save", "Save as file", () => save(fileName(title, ending), code, type)),
    iconButton("close", "Close artifact", () => drawers.artifact.close()));
  panel.replaceChildren(head, frame(), element("p", { class: "isolated" }, "Runs isolated: no network, no access to this page."));
  drawers.artifact.open();
}

/**
 * Returns a frame that gets its document once, by message.
 * @param {string} html
 * @param {string} title
 */
function isolatedFrame(html, title) {
  const frame = element("iframe", { src: DOCUMENT.href, sandbox: "allow-scripts", referrerpolicy: "no-referrer", credentialless: true, title: `Artifact: ${title}` });
  frame.addEventListener("load", () => frame.contentWindow?.postMessage(html, "*"), { once: true });
  return frame;
}

/** @param {string} svg */
function aroundImage(svg) {
  const style = "<style>html,body{height:100%;margin:0}body{display:grid;place-items:center}svg{max-width:100%;max-height:100vh}</style>";
  return `<!doctype html><meta charset="utf-8">${style}${svg.replace(/^\s*<\?xml[^>]*>/, "")}`;
}

/** @param {string} code */
function titleOf(code) {
  const [, title] = /<title[^>]*>([^<]{1,80})/i.exec(code) ?? [];
  return title?.trim() || null;
}
