// What the API has against a new session, in the words of the form and by its fields.

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

// Pydantic's words, https://docs.pydantic.dev/latest/errors/validation_errors/, where they are those of a program.
const WORDS = [
  [/^(?:Value|List|Dictionary) should have at most (\d+) items?.*?not (\d+)$/, "There are $2 of these, and at most $1 may be."],
  [/^String should have at most (\d+) characters?$/, "It may have $1 characters at most."],
  [/^String should have at least 1 character$/, "It is empty."],
  [/^String should match pattern .*$/, "It has characters that are not possible here."],
  [/^Input should be .*?less than or equal to (\d+)$/, "It may be $1 at most."],
  [/^Input should be .*?greater than or equal to (\d+)$/, "It must be $1 at least."],
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
