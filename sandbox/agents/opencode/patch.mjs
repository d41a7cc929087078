// Has opencode's newer reader of settings honour OPENCODE_DISABLE_PROJECT_CONFIG, as its older one does:
// without, a repository's plugins run in the agent's process at the first message
// (https://github.com/anomalyco/opencode/issues/49836). Usage: node patch.mjs PROGRAM
//
// The program's JavaScript lies in it as text, so what is put there has the length of what was there.
// tests/agents tells whether a version needs this; one that is built otherwise is not installed.
import { readFileSync, writeFileSync } from "node:fs";

const READER = Buffer.from('"@opencode/v2/Config"');
const LOOK = 8192;
const UNLESS = /([\w$]+)\.resolve\([\w$]+\.directory\)===\1\.resolve\([\w$]+\.config\)(?=\?\[\]:)/g;
const SWITCH = "process.env.OPENCODE_DISABLE_PROJECT_CONFIG";

const [, , program] = process.argv;
const content = readFileSync(program);
const found = [];
for (let at = content.indexOf(READER); at >= 0; at = content.indexOf(READER, at + 1)) {
  for (const { 0: was, index } of content.latin1Slice(at, at + LOOK).matchAll(UNLESS)) {
    found.push({ was, at: at + index });
  }
}
if (found.length !== 1 || found[0].was.length < SWITCH.length) {
  console.error(`patch.mjs: ${program} does not read its settings where it is known to`);
  process.exit(1);
}
content.write(SWITCH.padEnd(found[0].was.length), found[0].at, "latin1");
writeFileSync(program, content);
