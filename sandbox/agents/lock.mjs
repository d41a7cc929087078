// The hashes of the agents' programs. From the repository's root:
//   node sandbox/agents/lock.mjs complete AGENT      adds what the registry says where the lock has none
//   node sandbox/agents/lock.mjs verified AGENT DIR  writes lock and package.json of those that have one
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const [task, agent, folder] = process.argv.slice(2);
const source = join(fileURLToPath(new URL(".", import.meta.url)), agent);
const read = (name) => JSON.parse(readFileSync(join(source, name), "utf8"));
const lock = read("package-lock.json");
const without = Object.entries(lock.packages).filter(([path, entry]) => path && !entry.integrity);

function save(where, name, content) {
  writeFileSync(join(where, name), JSON.stringify(content, null, 2) + "\n");
}

if (task === "complete") {
  for (const [path, entry] of without) {
    const program = `${path.replace("node_modules/", "")}@${entry.version}`;
    const { stdout } = spawnSync("npm", ["view", program, "dist.integrity"], { encoding: "utf8" });
    if (!stdout.startsWith("sha512-")) {
      console.error(`lock.mjs: this registry has no hash of ${program}`);
      process.exit(1);
    }
    entry.integrity = stdout.trim();
    console.log(`${program} ${entry.integrity}`);
  }
  save(source, "package-lock.json", lock);
} else {
  const wanted = read("package.json");
  for (const [path] of without) {
    const name = path.replace("node_modules/", "");
    delete lock.packages[path];
    delete lock.packages[""].optionalDependencies[name];
    delete wanted.optionalDependencies[name];
  }
  save(folder, "package-lock.json", lock);
  save(folder, "package.json", wanted);
}
