// What the page's forms ask of the API.

const GITHUB_NAME = /^[\w.-]+\/[\w.-]+$/;

const commands = (text) => text.split("\n").filter((line) => line.trim());

export function newSession({ repo, prompt, branch, setup, hold }) {
  const [address, start] = [repo.trim(), branch.trim()];
  return {
    prompt,
    ...(GITHUB_NAME.test(address) ? { githubRepo: address } : { gitUrl: address }),
    ...(start && { upstreamBranch: start }),
    ...(commands(setup).length && { setupCommands: commands(setup) }),
    autoInitiate: !hold,
  };
}

// `setup` is null where the commands stay as they are; an empty text leaves none.
export function newAttempt(attemptNumber, setup) {
  return { attemptNumber, ...(setup !== null && { setupCommands: commands(setup) }) };
}
