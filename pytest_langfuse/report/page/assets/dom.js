// Elements and figures. What comes from the data becomes a text node or the value of an attribute that runs nothing.

const $ = (id) => document.getElementById(id);

/** Make an element: `el("p", {class: "note", on: {click: f}}, "text", child)`. Children that are null are left out. */
function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, act] of Object.entries(value)) on(element, event, act);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...shownOf(children));
  return element;
}

const on = (target, event, act) => target.addEventListener(event, act);
const shownOf = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
const span = (kind, ...children) => el("span", { class: kind || null }, ...children);
const div = (kind, ...children) => el("div", { class: kind || null }, ...children);
const heading = (text) => el("h3", {}, text);
const folded = (summary, ...children) => el("details", {}, el("summary", {}, summary), children);
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


/** Do something; where that fails, say so in an element. The rest of the page goes on. */
async function guarded(element, act) {
  try {
    await act();
  } catch (error) {
    fill(element, par("warning", `This can't be shown: ${error}`));
  }
}

/** Tell those who listen to the page. */
function announce(text) {
  $("status").textContent = text;
}

const typing = (event) => /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName ?? "");
const count = (number, noun) => `${figure(number)} ${noun}${number === 1 ? "" : "s"}`;

/** Digits with their thousands apart. */
const apart = (digits) => digits.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
const withExponent = (number) => number.toExponential(1).replace("+", "");
const figure = (number) => (typeof number !== "number" ? "" : Math.abs(number) < 1e15 ? apart(number.toFixed(2).replace(/\.?0+$|^-0\.00$/, "") || "0") : withExponent(number));
const withUnit = (number, unit) => (typeof number === "number" ? `${figure(number)} ${unit}` : "");

function money(dollars, estimated) {
  if (typeof dollars !== "number") return "";
  const size = Math.abs(dollars);
  let text = size < 0.001 ? size.toPrecision(2) : size.toFixed(4);
  if (size >= 0.99995 || !size) text = apart(size.toFixed(2));
  if (size >= 1e15 || (size && size < 1e-6)) text = withExponent(size);
  return `${dollars < 0 ? "-" : ""}$${text}${estimated ? " est." : ""}`;
}

/** A duration, in seconds; negative where a clock was set back. */
function secondsText(seconds) {
  if (typeof seconds !== "number") return "";
  if (seconds <= -5e-7) return `-${secondsText(-seconds)}`;
  const ms = seconds * 1e3;
  if (ms < 0.9995) return `${Math.round(ms * 1e3)} µs`;
  if (ms < 999.5) return `${ms.toFixed(ms < 9.95 ? 1 : 0)} ms`;
  if (ms < 59995) return `${(ms / 1e3).toFixed(2)} s`;
  const parts = (size, per, large, small) => {
    const whole = Math.round(seconds / size);
    return `${Math.floor(whole / per)} ${large} ${whole % per} ${small}`;
  };
  if (Math.round(seconds) < 3600) return parts(1, 60, "m", "s");
  if (Math.round(seconds / 60) < 1440) return parts(60, 60, "h", "m");
  return Math.round(seconds / 3600) < 24000 ? parts(3600, 24, "d", "h") : `${figure(Math.round(seconds / 86400))} d`;
}

const time = (microseconds) => (typeof microseconds === "number" ? secondsText(microseconds / 1e6) : "");
