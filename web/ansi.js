// What a terminal would show of an output: its colours, and of a line that was written over the last state.

import { element } from "./dom.js";
import { AnsiUp, arrived } from "./libraries.js";
import { CODES, readable } from "./text.js";

const LONG_LOOKS = /\x1b\[[0-9;:]{101,}m/g; // take the library seconds
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;

// Has each stretch of one look told by itself, as text and not as HTML.
const stretchesOf = (Base) => class extends Base {
  found = [];

  transform_to_html(stretch) {
    this.found.push(stretch);
    return "";
  }

  // An address in a terminal's output is shown as the text it has there.
  process_hyperlink(packet) {
    return this.transform_to_html(this.with_state(packet));
  }

  // Another in the same look.
  copy() {
    return Object.assign(new this.constructor(), this);
  }

  // Goes on in the look that what came before left.
  draw(text) {
    this.found = [];
    this.ansi_to_html(text);
    return this.found.map(({ text, ...look }) => {
      const classes = classesOf(look);
      return classes ? element("span", classes, clean(text)) : clean(text);
    });
  }
};

let Stretches = null; // as the library comes later

function newStretches() {
  if (AnsiUp) Stretches ??= stretchesOf(AnsiUp);
  return Stretches ? new Stretches() : null;
}

const lastOf = (line) => {
  let end = line.length;
  while (line[end - 1] === "\r") end -= 1;
  return line.slice(line.lastIndexOf("\r", end - 1) + 1, end);
};

const clean = (text) => readable(text.replace(CODES, "").replace(CONTROLS, ""));

const last = (output) => output.split("\n").map(lastOf).join("\n").replace(AnsiUp ? LONG_LOOKS : CODES, "");

// Calls `draw` once an output that was drawn without its colours can have them; never where they are here, or missing.
export function onceColoured(draw) {
  if (!AnsiUp) arrived.then(() => AnsiUp && draw());
}

// Without its looks, as it is kept in a file.
export const uncoloured = (output) => clean(last(output));

// Makes nodes and texts for `element` of an output that comes in parts: each goes on in the look of the one before. What
// comes after one that may still grow goes on as if that had not been.
export function newPrinter() {
  let stretches = null;
  return (part, grows = false) => {
    stretches ??= newStretches();
    if (!stretches) return [clean(last(part))];
    return (grows ? stretches.copy() : stretches).draw(last(part));
  };
}

// Nodes and texts for `element`.
export const coloured = (output) => newPrinter()(output);

// Of 256 and of all colours the sixteen of the page's own are shown, for it knows what can be read on it.
function classesOf({ bold, faint, italic, underline, fg, bg }) {
  const named = (colour, end) => colour && colour.class_name !== "truecolor" && `${colour.class_name}-${end}`;
  const all = [bold && "bold", faint && "faint", italic && "italic", underline && "underline", named(fg, "fg"), named(bg, "bg")];
  return all.filter(Boolean).join(" ");
}
