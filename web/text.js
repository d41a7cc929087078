// Untrusted text for people: what is shown of it. client/headstart_client/text.py is the same for
// terminals, and both are tested with the same texts.

// What is not seen and changes what is: order of reading, width, line ends, hidden letters.
const UNSEEN = "\\u00ad\\u061c\\u115f\\u1160\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u2800\\u3164\\ufeff\\uffa0\\ufff9-\\ufffb\\ud800-\\udfff\\u{e0000}-\\u{e007f}";
const NOT_PLAIN = new RegExp(`[${UNSEEN}]`, "gu");
const NOT_VISIBLE = new RegExp(`[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f${UNSEEN}]`, "gu");

// Without it.
export const plain = (text) => text.replace(NOT_PLAIN, "");

// What turns the order of reading, and so can make a text say what it does not.
const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

// What drives a terminal: colours and movements, titles and links, and all else.
export const CODES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])/g;
const BEGUN = /(?:\r|\x1b(?:\[[0-?]{0,99}[ -/]{0,9}|\][^\x07\x1b]{0,999}\x1b?|[ -/]{0,9})?)$/;

// For what people and agents wrote and did: without what isn't seen, but for what turns it, which is spelled out.
export const readable = (text) => plain(text.replace(CODES, "").replace(TURNING, spelled));

// The same of a text that comes in parts: what may be a beginning waits for its end, but in the last part.
export function newReader() {
  let begun = "";
  return (part, last) => {
    const text = begun + part;
    begun = last ? "" : (BEGUN.exec(text)?.[0] ?? "");
    return readable(text.slice(0, text.length - begun.length).replace(/\r\n?/g, "\n"));
  };
}

// For what a person is to allow: spelled out, so that nothing of it is missing.
export const visible = (text) => text.replace(NOT_VISIBLE, spelled);

// How many there are of something, whose name takes an s.
export const counted = (many, name) => `${many.toLocaleString("en")} ${name}${many === 1 ? "" : "s"}`;

function spelled(character) {
  const code = character.codePointAt(0).toString(16);
  return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`;
}
