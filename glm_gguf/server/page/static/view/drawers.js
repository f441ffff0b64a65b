/** The columns beside the conversation: on narrow screens they lie over it, and hold the focus until they are closed. */

import { byId } from "./dom.js";

const NARROW = matchMedia("(max-width: 60rem)");
const APP = document.querySelector(".app");

/** One column and the button that opens it; `isOpen` and `setOpen` say how the page shows it. */
class Drawer {
  /** @param {string} id @param {string | null} toggle id of the button @param {() => boolean} isOpen @param {(open: boolean) => void} setOpen */
  constructor(id, toggle, isOpen, setOpen) {
    this.element = byId(id);
    this.toggle = toggle && byId(toggle);
    this.isOpen = isOpen;
    this.setOpen = setOpen;
    this.opener = null;
    this.toggle?.addEventListener("click", () => (isOpen() ? this.close() : this.open()));
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.isOpen() || (id === "sidebar" && !NARROW.matches)) return;
      event.stopPropagation();
      this.close();
    });
  }

  open() {
    if (!this.isOpen()) this.opener = document.activeElement;
    Object.values(drawers).filter((other) => other !== this && this.#coversOrIsCovered(other)).forEach((other) => other.close());
    this.setOpen(true);
    this.#settle();
    if (NARROW.matches || this.element.id !== "sidebar") this.element.querySelector("button, input, textarea")?.focus();
  }

  close() {
    if (!this.isOpen()) return;
    this.setOpen(false);
    this.#settle();
    (this.toggle ?? this.opener)?.focus();
  }

  /** On wide screens the column with the conversations has a place of its own. */
  #coversOrIsCovered(other) {
    return NARROW.matches || (this.element.id !== "sidebar" && other.element.id !== "sidebar");
  }

  #settle() {
    this.toggle?.setAttribute("aria-expanded", String(this.isOpen()));
    byId("main").inert = NARROW.matches && Object.values(drawers).some((drawer) => drawer.isOpen());
  }
}

const sidebarClass = () => (NARROW.matches ? "sidebar-open" : "sidebar-closed");

export const drawers = {
  sidebar: new Drawer("sidebar", "toggle-sidebar",
    () => APP.classList.contains("sidebar-open") || (!NARROW.matches && !APP.classList.contains("sidebar-closed")),
    (open) => APP.classList.toggle(sidebarClass(), open === NARROW.matches)),
  panel: new Drawer("panel", "toggle-panel", () => !byId("panel").hidden, (open) => {
    byId("panel").hidden = !open;
  }),
  artifact: new Drawer("artifact", null, () => !byId("artifact").hidden, (open) => {
    byId("artifact").hidden = !open;
    if (!open) byId("artifact").replaceChildren(); // which also ends its scripts
  }),
};

/** Closes what lies over the conversation, and says whether anything did; a click beside it does so too. */
export function closeOverlays() {
  const over = NARROW.matches ? Object.values(drawers).filter((drawer) => drawer.isOpen()) : [];
  over.forEach((drawer) => drawer.close());
  return over.length > 0;
}

/** Makes drawers follow the width of the screen and clicks beside them. */
export function startDrawers() {
  drawers.sidebar.toggle.setAttribute("aria-expanded", String(drawers.sidebar.isOpen()));
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".drawer, dialog")) closeOverlays();
  });
  NARROW.addEventListener("change", () => {
    APP.classList.remove("sidebar-open", "sidebar-closed");
    byId("main").inert = NARROW.matches && !(byId("panel").hidden && byId("artifact").hidden);
    drawers.sidebar.toggle.setAttribute("aria-expanded", String(drawers.sidebar.isOpen()));
  });
}
