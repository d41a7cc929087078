// What the page's forms ask of the API.

const GITHUB_NAME = /^[\w.-]+\/[\w.-]+$/;

const lines = (text) => text.split("\n").filter((line) => line.trim());

export function newSession({ repo, prompt, branch, setup, inputs, tree, depth, submodules, hold }) {
  const [address, start] = [repo.trim(), branch.trim()];
  const clone = { ...(depth && { depth: Number(depth) }), ...(submodules && { submodules }) };
  return {
    prompt,
    ...(GITHUB_NAME.test(address) ? { githubRepo: address } : { gitUrl: address }),
    ...(start && { upstreamBranch: start }),
    ...(Object.keys(clone).length && { clone }),
    ...(lines(setup).length && { setupCommands: lines(setup) }),
    ...(lines(inputs).length && { setupInputs: lines(inputs).map((path) => path.trim()) }),
    ...(tree && tree !== "use" && { preparedTree: tree }),
    autoInitiate: !hold,
  };
}

// `setup` is null where the commands stay as they are; an empty text leaves none.
export function newAttempt(attemptNumber, setup) {
  return { attemptNumber, ...(setup !== null && { setupCommands: lines(setup) }) };
}
