// First line in: {"jwks", "options", "now_ms"}. Then one JSON string a line, a token: "1" if jose accepts it, else "0".
import { createInterface } from "node:readline";
import { createLocalJWKSet, jwtVerify } from "jose";

const lines = createInterface({ input: process.stdin, crlfDelay: Infinity })[Symbol.asyncIterator]();
const { jwks, options, now_ms } = JSON.parse((await lines.next()).value);
const keys = createLocalJWKSet(jwks);
const question = { ...options, currentDate: new Date(now_ms) };

const accepts = (token) => jwtVerify(token, keys, question).then(() => "1", () => "0");
let answers = [];
for (let line = await lines.next(); !line.done; line = await lines.next()) {
  answers.push(accepts(JSON.parse(line.value)));
  if (answers.length === 500) {
    process.stdout.write((await Promise.all(answers)).join("\n") + "\n");
    answers = [];
  }
}
if (answers.length) process.stdout.write((await Promise.all(answers)).join("\n") + "\n");
