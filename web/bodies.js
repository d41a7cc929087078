// What the page's forms ask of the API.

const GITHUB_NAME = /^[\w.-]+\/[\w.-]+$/;

const lines = (text) => text.split("\n").filter((line) => line.trim());

const some = (object) => object && Object.keys(object).length > 0;

// How a form names a repository.
export const repository = (address) => (GITHUB_NAME.test(address) ? { githubRepo: address } : { gitUrl: address });

// What is left empty is left to the deployment.
export function newSession(given) {
  const { prompt, setup, inputs, tree, depth, submodules, hold, system = "", env, mcp, encryptedSecrets } = given;
  const [address, start, agent, mode, model] = ["repo", "branch", "agent", "mode", "model"].map((name) => (given[name] ?? "").trim());
  const clone = { ...(depth && { depth: Number(depth) }), ...(submodules && { submodules }) };
  return {
    prompt,
    ...repository(address),
    ...(start && { upstreamBranch: start }),
    ...(agent && { agent }),
    ...(mode && { mode }),
    ...(model && { model }),
    ...(some(clone) && { clone }),
    ...(lines(setup).length && { setupCommands: lines(setup) }),
    ...(lines(inputs).length && { setupInputs: lines(inputs).map((path) => path.trim()) }),
    ...(tree && tree !== "use" && { preparedTree: tree }),
    ...(some(env) && { envVars: env }),
    ...(encryptedSecrets && { encryptedSecrets }),
    ...(some(mcp) && { mcpServers: mcp }),
    ...(system.trim() && { appendSystemPrompt: system }),
    autoInitiate: !hold,
  };
}

// `setup` is null where the commands stay as they are; an empty text leaves none.
export function newAttempt(attemptNumber, setup) {
  return { attemptNumber, ...(setup !== null && { setupCommands: lines(setup) }) };
}
