// How an attempt to prepare a session goes, step by step, kept up to date event by event.

const STEPS = {
  sandbox: "Starting the sandbox",
  disk: "Checking the disk",
  clone: "Cloning the repository",
  branch: "Checking out the branch",
  restore: "Restoring the agent's session",
  setup: "Running setup commands",
  agent: "Starting the agent",
  deliver: "Delivering the first message",
};

const OUTPUT_TAIL = 8 * 1024;

const newStep = (title) => ({ title, status: "pending", elapsed: 0, eta: null, seenAt: 0, revision: -1, output: "" });

export class Preparation {
  attempt = 0;
  receipt = null;
  steps = newSteps();

  // An attempt begins, if it is a later one; `started` where its first step is known to run.
  begin(number, { started = false } = {}) {
    if (number <= this.attempt) return;
    this.attempt = number;
    this.receipt = null;
    this.steps = newSteps();
    if (started) Object.assign(this.steps.values().next().value, { status: "running", seenAt: performance.now() });
  }

  // All of it as GET answers it, at a moment.
  snapshot({ number, revision, steps }, timestamp) {
    if (number < this.attempt) return;
    this.begin(number);
    for (const state of steps) {
      const step = this.step(state.step);
      if (step.revision > revision) continue;
      const { status, message, percent } = state;
      Object.assign(step, { status, message, percent, revision });
      step.output = state.output || step.output;
      if (state.startedAt) {
        const end = Date.parse(state.endedAt ?? timestamp ?? state.startedAt);
        clock(step, Math.max(0, end - Date.parse(state.startedAt)));
      }
    }
  }

  progress(data) {
    this.begin(data.attemptNumber);
    const step = this.step(data.step);
    // A frame that was overtaken is dropped, so a later step's start also ends the earlier ones.
    for (const earlier of this.steps.values()) {
      if (earlier === step) break;
      if (earlier.status === "running") Object.assign(earlier, { status: "completed", message: null });
    }
    step.status = data.status;
    step.revision = data.revision;
    // What a step was at is no news of it once it has ended.
    step.message = data.message ?? (step.status === "running" ? step.message : null);
    step.percent = data.percent ?? step.percent;
    step.eta = data.etaMs;
    step.output = (step.output + data.output).slice(-OUTPUT_TAIL);
    clock(step, data.elapsedMs);
  }

  done(receipt) {
    this.receipt = receipt;
    for (const { step, status, elapsedMs } of receipt.steps) Object.assign(this.step(step), { status, elapsed: elapsedMs });
  }

  step(name) {
    if (!this.steps.has(name)) this.steps.set(name, newStep(name));
    return this.steps.get(name);
  }
}

function newSteps() {
  return new Map(Object.entries(STEPS).map(([name, title]) => [name, newStep(title)]));
}

function clock(step, elapsed) {
  step.elapsed = elapsed;
  step.seenAt = performance.now();
}
