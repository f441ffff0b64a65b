/** The columns beside the conversation; on narrow screens they lie over it, and hold the focus until they are closed. */

import { byId } from "./dom.js";

const NARROW = matchMedia("(max-width: 60rem)");
const APP = byId("app");

/** One column and the button that opens it; `isOpen` and `setOpen` say how the page shows it. */
class Drawer {
  /** @type {HTMLElement | null} what had the focus before */
  #opener = null;

  /**
   * @param {string} id
   * @param {HTMLElement | null} toggle
   * @param {() => boolean} isOpen
   * @param {(open: boolean) => void} setOpen
   */
  constructor(id, toggle, isOpen, setOpen) {
    this.element = byId(id);
    this.toggle = toggle;
    this.isOpen = isOpen;
    this.setOpen = setOpen;
    this.toggle?.addEventListener("click", () => (isOpen() ? this.close() : this.open()));
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.isOpen() || (id === "sidebar" && !NARROW.matches)) return;
      event.stopPropagation();
      this.close();
    });
  }

  open() {
    if (!this.isOpen()) this.#opener = document.activeElement instanceof HTMLElement ? document.activeElement : null;
    Object.values(drawers).filter((other) => other !== this && this.#excludes(other)).forEach((other) => other.close());
    this.setOpen(true);
    this.#settle();
    if (NARROW.matches || this.element.id !== "sidebar") firstField(this.element)?.focus();
  }

  close() {
    if (!this.isOpen()) return;
    this.setOpen(false);
    this.#settle();
    (this.toggle ?? this.#opener)?.focus();
  }

  /**
   * Says whether another drawer must close for this one; on wide screens the sidebar has a column of its own.
   * @param {Drawer} other
   */
  #excludes(other) {
    return NARROW.matches || (this.element.id !== "sidebar" && other.element.id !== "sidebar");
  }

  #settle() {
    this.toggle?.setAttribute("aria-expanded", String(this.isOpen()));
    byId("main").inert = NARROW.matches && Object.values(drawers).some((drawer) => drawer.isOpen());
  }
}

/** @param {HTMLElement} parent */
function firstField(parent) {
  /** @type {HTMLElement | null} */
  const found = parent.querySelector("button, input, textarea");
  return found;
}

const sidebarClass = () => (NARROW.matches ? "sidebar-open" : "sidebar-closed");

const toggles = { sidebar: byId("toggle-sidebar"), panel: byId("toggle-panel") };

export const drawers = {
  sidebar: new Drawer("sidebar", toggles.sidebar,
    () => APP.classList.contains("sidebar-open") || (!NARROW.matches && !APP.classList.contains("sidebar-closed")),
    (open) => APP.classList.toggle(sidebarClass(), open === NARROW.matches)),
  panel: new Drawer("panel", toggles.panel, () => !byId("panel").hidden, (open) => {
    byId("panel").hidden = !open;
  }),
  artifact: new Drawer("artifact", null, () => !byId("artifact").hidden, (open) => {
    byId("artifact").hidden = !open;
    if (!open) byId("artifact").replaceChildren(); // which also ends its scripts
  }),
};

/** Closes the drawers that lie over the conversation, and says whether there was one. */
export function closeOverlays() {
  const over = NARROW.matches ? Object.values(drawers).filter((drawer) => drawer.isOpen()) : [];
  over.forEach((drawer) => drawer.close());
  return over.length > 0;
}

/** Makes drawers follow the width of the screen, and close at a click beside them. */
export function startDrawers() {
  toggles.sidebar.setAttribute("aria-expanded", String(drawers.sidebar.isOpen()));
  document.addEventListener("pointerdown", (event) => {
    if (event.target instanceof Element && !event.target.closest(".drawer, dialog")) closeOverlays();
  });
  NARROW.addEventListener("change", () => {
    APP.classList.remove("sidebar-open", "sidebar-closed");
    byId("main").inert = NARROW.matches && !(byId("panel").hidden && byId("artifact").hidden);
    toggles.sidebar.setAttribute("aria-expanded", String(drawers.sidebar.isOpen()));
  });
}
