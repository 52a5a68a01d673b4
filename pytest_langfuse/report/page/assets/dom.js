// Elements and figures. What comes from the data becomes a text node or the value of an attribute that runs nothing.

const $ = (id) => document.getElementById(id);

/** Make an element: `el("p", {class: "note", on: {click: f}}, "text", child)`. Children that are null are left out. */
function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...shownOf(children));
  return element;
}

const shownOf = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
const span = (kind, ...children) => el("span", { class: kind || null }, ...children);
const div = (kind, ...children) => el("div", { class: kind || null }, ...children);
const par = (kind, ...children) => el("p", { class: kind || null }, ...children);

/** Put other children into an element. */
function fill(element, ...children) {
  element.replaceChildren(...shownOf(children));
  return element;
}

/** What follows the # in the address of a place: the overview, a test, an observation. */
function addressOf({ test, fault, obs }) {
  return String(new URLSearchParams(Object.entries({ test, fault, obs }).filter(([, value]) => value)));
}

/** A link inside of the page: the one place that sets an address. */
function link(place, ...children) {
  return el("a", { href: `#${addressOf(place)}` }, ...children);
}

const RASTER = /^data:image\/(png|jpeg|gif|webp|avif);base64,[A-Za-z0-9+/=\s]+$/;

/** An image that the application sent: the one place that sets a source, and none but of pixels. */
function image(source) {
  return RASTER.test(source) ? el("img", { src: source, alt: "image that the application sent", loading: "lazy" }) : null;
}

function button(label, act, attributes) {
  return el("button", { type: "button", ...attributes, on: { click: act } }, label);
}

/** A button that copies a text, which is made when it is pressed. */
function copyButton(label, text) {
  const self = button(label, async () => {
    const copied = await copy(await text());
    self.textContent = copied ? "Copied" : "Could not copy";
    announce(self.textContent);
    setTimeout(() => { self.textContent = label; }, 1500);
  });
  return self;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { class: "away", "aria-label": "text to copy" });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}


/** Tell those who listen to the page. */
function announce(text) {
  $("status").textContent = text;
}

const typing = (event) => /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName ?? "");
const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
const figure = (number) => (typeof number === "number" ? number.toLocaleString("en", { maximumFractionDigits: 2 }) : "");

function money(dollars, estimated) {
  if (typeof dollars !== "number") return "";
  const small = dollars < 0.0001 ? dollars.toPrecision(2) : dollars.toFixed(4);
  const digits = dollars < 1 && dollars ? small : dollars.toFixed(2).replace(/\B(?=(\d{3})+\.)/g, ",");
  return `$${digits}${estimated ? " est." : ""}`;
}

/** A duration; `microseconds` below 0 is one that never ended. */
function time(microseconds) {
  if (typeof microseconds !== "number") return "";
  if (microseconds < 0) return "never ended";
  const ms = microseconds / 1e3, seconds = Math.round(ms / 1e3);
  if (ms < 0.9995) return `${Math.round(microseconds)} µs`;
  if (ms < 999.5) return `${ms.toFixed(ms < 9.95 ? 1 : 0)} ms`;
  if (ms < 59995) return `${(ms / 1e3).toFixed(2)} s`;
  return `${Math.floor(seconds / 60)} m ${seconds % 60} s`;
}

const secondsText = (duration) => (typeof duration === "number" ? time(duration * 1e6) : "");
