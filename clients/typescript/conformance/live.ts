/**
 * The Node.js program of the live conformance part: judges tokens with a real verifier and speaks lines with the harness, as
 * clients/conformance/README.md says ("The live part").
 */
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { credentials } from "@grpc/grpc-js";

import { CannotKnow, Verifier, type Verdict } from "../src/index.js";

const LOOK_EVERY_MS = 2;
const START_WAIT_MS = 60_000;

const { values } = parseArgs({ options: { target: { type: "string" }, audience: { type: "string" } } });
const verifier = new Verifier(values.target!, {
  audience: values.audience!,
  whenStale: "unavailable",
  credentials: credentials.createInsecure(),
});
const watched = new Map<string, string>();

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function judge(token: string): Promise<string> {
  try {
    return wordFor(await verifier.verify(token));
  } catch (error) {
    if (error instanceof CannotKnow) return "unavailable";
    throw error;
  }
}

function wordFor(verdict: Verdict): string {
  return verdict.active ? "active" : `inactive ${verdict.reason}`;
}

/** Judges every watched token from memory, until it is refused. */
function look(): void {
  for (const [name, token] of watched) {
    let verdict: Verdict;
    try {
      verdict = verifier.check(token);
    } catch {
      continue; // cannot know
    }
    if (verdict.active) continue;
    watched.delete(name);
    say(`refused ${name} ${verdict.reason} ${Date.now()}`);
  }
}

async function answer(line: string): Promise<string> {
  const [verb, ...rest] = line.split(" ");
  if (verb === "verify" && rest.length === 1) return judge(rest[0]!);
  if (verb === "watch" && rest.length === 2) {
    const [name, token] = rest as [string, string];
    const word = await judge(token);
    if (word !== "active") return word;
    watched.set(name, token);
    return `watching ${name}`;
  }
  if (line === "age") return `age ${verifier.ageMs?.toFixed(3) ?? -1}`;
  if (line === "stats") return `stats ${JSON.stringify({ ...verifier.stats, watched: watched.size })}`;
  return "error unknown line";
}

if (!(await verifier.start({ waitMs: START_WAIT_MS }))) throw new Error("not ready in time");
say("ready");
const looking = setInterval(look, LOOK_EVERY_MS);
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "quit") break;
  say(await answer(line));
}
clearInterval(looking);
verifier.stop();
process.stdin.destroy();
