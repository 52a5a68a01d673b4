// Inputs, outputs and metadata: chat messages as messages, JSON that folds, images as images.

const LONG_TEXT = 4000;
const MANY = 100;

/** An image that was uploaded, or the words that say what it is. */
function mediaOf(reference) {
  const [, type, id] = reference.match(/type=([^|]+)\|id=([^|]+)/);
  const { number, size, why } = index.media[id] ?? { why: "it is not in this file" };
  const box = span("note", [`[${type}`, withUnit(size, "bytes"), why ? `not shown: ${why}` : ""].filter(Boolean).join(", "), "]");
  if (number >= 0) unpack(packedImages[number].textContent).then((source) => box.replaceWith(image(source) ?? type));
  return box;
}

/** A text, of which the beginning is shown first if it is long. */
function textOf(text) {
  if (RASTER.test(text)) return image(text);
  if (REFERENCE.test(text)) return div("", text.split(REFERENCE).map((part, at) => (at % 2 ? mediaOf(part) : part && textOf(part))));
  const box = el("pre", { class: "text" }, text.slice(0, LONG_TEXT));
  if (text.length > LONG_TEXT) {
    const more = button(`show all ${figure(text.length)} characters`, () => { box.textContent = text; });
    box.append("… ", more);
  }
  return box;
}

/** A value as it reads best. */
function valueOf(value) {
  if (typeof value === "string") {
    const parsed = /^\s*[[{]/.test(value) ? parsedOrNull(value) : null;
    return parsed === null ? textOf(value) : valueOf(parsed);
  }
  return chatOrJson(value);
}

const chatOf = ({ messages, others }) => div("", messages.map(messageOf), others.map(([key, inner]) => entry(key, inner)));

function parsedOrNull(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

const messageOf = ({ role, parts, rest }) => div("message", role ? el("b", { class: "role" }, role) : null, parts.map(partOf), rest.map(([key, inner]) => entry(key, inner)));

/** A part of a message: text, an image, what was thought, a call of a tool or its result. */
function partOf({ kind, name, value, rest }) {
  const more = rest.length ? div("note", rest.map(([key, inner]) => entry(key, inner))) : null;
  if (kind === "text") return [valueOf(value), more];
  if (kind === "json") return jsonOf(value);
  if (kind === "image") return textOf(value);
  const parts = kind === "call" ? [] : partsIn(value);
  const told = parts.length && parts.every((part) => part.kind !== "json") ? parts.map(partOf) : isSet(value) ? valueOf(value) : null;
  return div("message", el("b", { class: "role" }, `${kind === "result" ? "result of a call" : kind} ${name}`), told, more);
}

function chatOrJson(value, depth) {
  const chat = chatIn(value);
  return chat ? chatOf(chat) : jsonOf(value, depth);
}

/** JSON; objects and lists fold, and their entries are made when they are opened. */
function jsonOf(value, depth = 0) {
  if (typeof value === "string") return value.length > 80 || value.includes("\n") || REFERENCE.test(value) ? textOf(value) : span("json-string", JSON.stringify(value));
  if (value === null || typeof value !== "object") return span("json-value", String(value));
  const entries = Array.isArray(value) ? value.map((inner, at) => [String(at), inner]) : Object.entries(value);
  if (!entries.length) return span("json-value", Array.isArray(value) ? "[]" : "{}");
  const box = div("entries");
  addEntries(box, entries, 0, depth);
  return box;
}

function addEntries(box, entries, from, depth) {
  box.append(...entries.slice(from, from + MANY).map(([key, inner]) => entry(key, inner, depth)));
  const left = entries.length - from - MANY;
  if (left > 0) {
    const more = button(`${figure(left)} more`, () => { more.remove(); addEntries(box, entries, from + MANY, depth); });
    box.append(more);
  }
}

function entry(key, value, depth = 0) {
  if (value === null || typeof value !== "object" || !Object.keys(value).length) {
    return div("entry", span("key", key), jsonOf(value));
  }
  const size = Array.isArray(value) ? count(value.length, "item") : count(Object.keys(value).length, "key");
  const fold = el("details", { class: "entry" }, el("summary", {}, span("key", key), span("note", size)));
  const open = () => { if (fold.open && fold.childElementCount === 1) fold.append(chatOrJson(value, depth + 1)); };
  on(fold, "toggle", open);
  fold.open = depth < 2 && Object.keys(value).length <= 20;
  open();
  return fold;
}
