// Inputs, outputs and metadata: chat messages as messages, JSON that folds, images as images.

const LONG_TEXT = 4000;
const MANY = 100;

// What the SDK puts in place of a file that it uploads.
const REFERENCE = /(@@@langfuseMedia:type=[^|@]+\|id=[^|@]+\|source=[^@]*@@@)/;

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

const isPlain = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isMessage = (value) => isPlain(value) && typeof value.role === "string" && ("content" in value || "tool_calls" in value || "parts" in value);

/** The messages of a chat in a value, or null. */
function messagesIn(value) {
  const list = isMessage(value) ? [value] : isPlain(value) && Array.isArray(value.messages) ? value.messages : value;
  return Array.isArray(list) && list.length > 0 && list.every(isMessage) ? list : null;
}

/** A value as it reads best. */
function valueOf(value) {
  if (typeof value === "string") {
    const parsed = /^\s*[[{]/.test(value) ? parsedOrNull(value) : null;
    return parsed === null ? textOf(value) : valueOf(parsed);
  }
  const messages = messagesIn(value);
  if (!messages) return jsonOf(value);
  const others = isPlain(value) && Array.isArray(value.messages) ? Object.entries(value).filter(([key]) => key !== "messages") : [];
  return div("", messages.map(messageOf), others.map(([key, inner]) => entry(key, inner)));
}

function parsedOrNull(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

function messageOf(message) {
  const { role, content, ...others } = message;
  const rest = Object.entries(others).filter(([, value]) => value !== null && value !== "");
  const parts = Array.isArray(content) ? content.map(partOf) : content === null || content === undefined || content === "" ? [] : [valueOf(content)];
  return div("message", el("b", { class: "role" }, role), parts, rest.map(([key, value]) => entry(key, value)));
}

/** A part of a message: text, an image, or whatever else there is. */
function partOf(part) {
  if (!isPlain(part)) return valueOf(part);
  if (typeof part.text === "string") return textOf(part.text);
  const data = part.source?.data;
  const address = part.image_url?.url ?? part.image_url ?? (data && !REFERENCE.test(data) ? `data:${part.source.media_type};base64,${data}` : data);
  if (typeof address !== "string") return jsonOf(part);
  return REFERENCE.test(address) ? textOf(address) : image(address) ?? jsonOf(part);
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
  const open = () => { if (fold.open && fold.childElementCount === 1) fold.append(messagesIn(value) ? valueOf(value) : jsonOf(value, depth + 1)); };
  on(fold, "toggle", open);
  fold.open = depth < 2 && Object.keys(value).length <= 20;
  open();
  return fold;
}
