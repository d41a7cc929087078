// What a tool did, in its own terms: the command of a shell, the lines of an edit, the path of a file.

import { newPrinter } from "./ansi.js";
import { diffLines } from "./changes.js";
import { shallow, words } from "./shapes.js";
import { readable } from "./text.js";

const FIELDS = {
  command: ["command", "cmd"],
  path: ["filePath", "file_path", "path", "file"],
  before: ["oldString", "old_string"],
  after: ["newString", "new_string"],
  content: ["content"],
  patch: ["patchText", "patch", "diff"],
};
const ENDS = { stopped: "stopped", lost: "its end is not known", error: "failed" };

function field(input, name) {
  const found = FIELDS[name].find((one) => typeof input[one] === "string");
  return found === undefined ? null : words(input[found]);
}

// What its one line says beside its name.
export function deed({ tool, title, input }) {
  const said = field(input, "command")?.trim().split("\n")[0] || field(input, "path") || "";
  if (!title || title === tool) return said;
  return !said || title.includes(said) || said.includes(title) ? title : `${title}: ${said}`;
}

// What became of it: how it was cut off, else what the agent says. A shell that ran is completed for some agents,
// whatever its command came to.
export const became = ({ data, cut }) => cut || (data.exitCode ? "error" : data.status);

// How it ended or how long it takes, in words; `now` is the cloud's.
export function state({ data, cut, beganAt, endedAt }, now) {
  const running = data.status === "running" && !cut;
  const ms = beganAt === null || beganAt === undefined ? 0 : Math.max(0, ((running ? now : endedAt) ?? beganAt) - beganAt);
  const time = ms >= 1000 ? duration(ms) : "";
  const end = ENDS[became({ data, cut })] ?? "";
  const how = running ? "running" : !cut && data.exitCode ? `exit ${data.exitCode}` : end;
  return [how, time].filter(Boolean).join(" ");
}

function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

// What it was given, in blocks: each named, with its text and what draws that.
export function given({ input }) {
  const [command, before, after, content, patch] = ["command", "before", "after", "content", "patch"].map((name) =>
    field(input, name),
  );
  if (command !== null) return [block("Command", `$ ${command}`)];
  if (before !== null || after !== null) return [diff(changedLines(before ?? "", after ?? ""))];
  if (patch !== null) return [diff(patch)];
  if (content !== null) return [diff(content.split("\n").map((line) => `+${line}`).join("\n"))];
  if (Object.keys(input).every((name) => FIELDS.path.includes(name))) return [];
  return [block("Input", JSON.stringify(shallow(input), null, 1))];
}

// Lines that both begin or end with are told once.
function changedLines(before, after) {
  const [old, now] = [before, after].map((text) => (text ? text.replace(/\n$/, "").split("\n") : []));
  const least = Math.min(old.length, now.length);
  let head = 0;
  while (head < least && old[head] === now[head]) head += 1;
  let tail = 0;
  while (tail < least - head && old.at(-1 - tail) === now.at(-1 - tail)) tail += 1;
  return [
    ...old.slice(0, head).map((line) => ` ${line}`),
    ...old.slice(head, old.length - tail).map((line) => `-${line}`),
    ...now.slice(head, now.length - tail).map((line) => `+${line}`),
    ...old.slice(old.length - tail).map((line) => ` ${line}`),
  ].join("\n");
}

const newPlain = () => (text) => [readable(text)];
const newDiff = () => (text) => diffLines(text.replace(/\n$/, ""));

const block = (name, text, newPaint = newPlain) => ({ name, text, newPaint });

const diff = (text) => block("Changed lines", text, newDiff);

// The block of what it printed.
export const printed = (output) => block("Output", output, newPrinter);
