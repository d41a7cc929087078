// What the API has against what a form sent, in the words of the form and by its fields.

import { tellFields } from "./fields.js";

const FIELDS = {
  prompt: "prompt",
  githubRepo: "repo",
  gitUrl: "repo",
  upstreamBranch: "branch",
  agent: "agent",
  mode: "mode",
  model: "model",
  clone: "depth",
  setupCommands: "setup",
  setupInputs: "inputs",
  envVars: "env",
  encryptedSecrets: "secrets",
  mcpServers: "mcp",
  appendSystemPrompt: "system",
};
const CODES = { RepositoryForbidden: "repo", EncryptionKeyNotFound: "secrets" };

// The API's words, layers/core/headstart/http.py and its requests, where they are of its body rather than of the form.
const WORDS = [
  [/^must look like org\/name\b.*$/, "It should be org/name, or an address from https:// on."],
  [/^must have at most (\d+) entries$/, "There may be $1 of these at most."],
  [/^must be at most (\d+) characters$/, "It may have $1 characters at most."],
  [/^must be at most (\d+) bytes of UTF-8$/, "It may have $1 bytes at most, and a letter beyond a to z has several."],
  [/^(has a character that may not be there): it must match .*$/, "It $1."],
  [/^((?:must|should|has|is|may) .*?)\.?$/, "It $1."],
];

function inWords(msg) {
  for (const [said, words] of WORDS) if (said.test(msg)) return msg.replace(said, words);
  return `${msg.replace(/\.$/, "")}.`;
}

// By the name of a field; null where an error is about none of them.
export function wrongFields({ code, message, errors }) {
  if (CODES[code]) return { [CODES[code]]: inWords(message) };
  const wrong = {};
  for (const { loc = [], msg = "" } of errors) {
    const field = FIELDS[loc[0]];
    if (!field) return null;
    const [, at] = loc;
    const where = Number.isInteger(at) ? `Line ${at + 1}: ` : typeof at === "string" && ["env", "mcp"].includes(field) ? `${at}: ` : "";
    wrong[field] ??= where + inWords(msg);
  }
  return errors.length ? wrong : null;
}

// Says at a form's fields what is wrong with them; throws the error if it is about anything else.
export function tellRefused(form, error) {
  const wrong = wrongFields(error);
  if (!wrong || !Object.keys(wrong).every((name) => form.elements[name])) throw error;
  tellFields(form, wrong);
}

// The same where its fields are not on display.
export const wordsOf = (errors) => [...new Set(errors.map(({ msg = "" }) => inWords(msg)))].join(" ");
