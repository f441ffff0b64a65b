/** Elements made in one expression. Text stays text: nothing here parses HTML. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {Record<string, string | number | boolean | null | undefined | ((event: Event) => void)>} Attributes `on…` are listeners; true is an attribute without value, false or nothing none
 * @typedef {Node | string | null | undefined | false | ""} Child nothing stands for none
 * @typedef {keyof HTMLElementTagNameMap} Tag
 */

/**
 * Returns a new element.
 * @template {Tag} T
 * @param {T} tag
 * @param {Attributes} attributes
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/**
 * Returns the element of the page with an id; that there is none is a bug of the page.
 * @overload
 * @param {string} id
 * @returns {HTMLElement}
 */
/**
 * @template {HTMLElement} T
 * @overload
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
/** @param {string} id @param {new () => HTMLElement} type */
export function byId(id, type = HTMLElement) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} #${id}`);
  return found;
}

/**
 * Returns one of the icons below, hidden from screen readers.
 * @param {IconName} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const fixed = { viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linecap": "round", "stroke-linejoin": "round" };
  for (const [key, value] of Object.entries({ ...fixed, "aria-hidden": "true" })) svg.setAttribute(key, String(value));
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * Returns a small button that shows an icon only.
 * @param {IconName} name
 * @param {string} label
 * @param {() => void} onclick
 * @param {Attributes} more
 */
export function iconButton(name, label, onclick, more = {}) {
  return element("button", { class: "icon-button small", type: "button", "aria-label": label, title: label, onclick, ...more }, icon(name));
}

/** @typedef {keyof typeof ICONS} IconName */
const ICONS = {
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  menu: "M4 6h16M4 12h16M4 18h10",
  sliders: "M4 7h9m5 0h2M4 17h3m5 0h8M15.5 4.5v5M9.5 14.5v5",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2m0 16v2M4.9 4.9l1.4 1.4m11.4 11.4 1.4 1.4M2 12h2m16 0h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l4.5 4.5",
  send: "M12 19V5m-6 6 6-6 6 6",
  stop: "M7 7h10v10H7z",
  down: "M12 5v14m-6-6 6 6 6-6",
  left: "M15 6l-6 6 6 6",
  right: "M9 6l6 6-6 6",
  copy: "M9 9h10v11H9zM5 15V4h10",
  done: "M5 13l4 4L19 7",
  retry: "M20 11a8 8 0 1 0-2.3 6.3M20 4v7h-7",
  pencil: "M4 20h4L19 9l-4-4L4 16z",
  bin: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  save: "M12 4v11m-5-5 5 5 5-5M5 20h14",
  tool: "M14.5 6.5a4 4 0 0 0-5.3 5.1L4 16.8V20h3.2l5.2-5.2a4 4 0 0 0 5.1-5.3l-2.6 2.6-2.6-.4-.4-2.6z",
  reply: "M9 8l-5 5 5 5M4 13h10a6 6 0 0 1 6 6",
  frame: "M4 5h16v14H4zM4 9h16",
};

/**
 * Says whether a text names an icon.
 * @param {string | undefined} name
 * @returns {name is IconName}
 */
export function isIconName(name) {
  return name !== undefined && name in ICONS;
}
