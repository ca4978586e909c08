/**
 * The JSON of tokens, read more strictly than JSON.parse reads it: a name occurs once in an object, at any depth, numbers
 * keep their spelling, and text is UTF-8 without BOM. A lone surrogate shows as `isWellFormed()` of the text.
 */
import { isUtf8 } from "node:buffer";

/** A number as it is spelt; its value is the reader's business. */
export class JsonNumber {
  constructor(
    readonly text: string,
    /** Neither a fraction nor an exponent. */
    readonly isInteger: boolean,
  ) {}
}

/** Objects within the outermost one are checked and forgotten. */
export const INNER_OBJECT = Symbol("object");

export type JsonValue = string | JsonNumber | boolean | null | typeof INNER_OBJECT | JsonValue[];

// Tokens of ours have 2 levels; the bound keeps recursion off the stack's end.
const MAX_DEPTH = 512;
// Longer ones are refused by the server's own reader too.
const MAX_DIGITS = 4300;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t",
};
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const HEX4 = /[0-9a-fA-F]{4}/y;

class NotJson extends Error {}

/** Returns the members of the one object that the bytes are; undefined if they are anything else. */
export function parseObject(raw: Buffer): Map<string, JsonValue> | undefined {
  if (!isUtf8(raw)) return undefined;
  try {
    // A byte order mark stays in the text, and no value begins with it.
    return new Reader(raw.toString()).whole();
  } catch (error) {
    if (error instanceof NotJson) return undefined;
    throw error;
  }
}

class Reader {
  #at = 0;
  #depth = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Map<string, JsonValue> {
    this.#space();
    this.#expect("{");
    const members = this.#members();
    this.#space();
    if (this.#at !== this.#text.length) throw new NotJson();
    return members;
  }

  #space(): void {
    for (;;) {
      const c = this.#text.charCodeAt(this.#at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
      this.#at++;
    }
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #expect(text: string): void {
    if (!this.#text.startsWith(text, this.#at)) throw new NotJson();
    this.#at += text.length;
  }

  /** Reads what follows an object's bracket. */
  #members(): Map<string, JsonValue> {
    const members = new Map<string, JsonValue>();
    this.#enter();
    this.#space();
    if (!this.#take("}")) {
      do {
        this.#space();
        const name = this.#string();
        if (members.has(name)) throw new NotJson();
        this.#space();
        this.#expect(":");
        members.set(name, this.#value());
        this.#space();
      } while (this.#take(","));
      this.#expect("}");
    }
    this.#depth--;
    return members;
  }

  #enter(): void {
    if (++this.#depth > MAX_DEPTH) throw new NotJson();
  }

  #value(): JsonValue {
    this.#space();
    switch (this.#text[this.#at]) {
      case '"':
        return this.#string();
      case "{":
        this.#at++;
        this.#members();
        return INNER_OBJECT;
      case "[":
        this.#at++;
        return this.#items();
      case "t":
        this.#expect("true");
        return true;
      case "f":
        this.#expect("false");
        return false;
      case "n":
        this.#expect("null");
        return null;
      default:
        return this.#number();
    }
  }

  #items(): JsonValue[] {
    const items: JsonValue[] = [];
    this.#enter();
    this.#space();
    if (!this.#take("]")) {
      do {
        items.push(this.#value());
        this.#space();
      } while (this.#take(","));
      this.#expect("]");
    }
    this.#depth--;
    return items;
  }

  #number(): JsonNumber {
    NUMBER.lastIndex = this.#at;
    const found = NUMBER.exec(this.#text);
    if (found === null) throw new NotJson();
    this.#at = NUMBER.lastIndex;
    const isInteger = found[1] === undefined && found[2] === undefined;
    if (isInteger && found[0].length > MAX_DIGITS) throw new NotJson();
    return new JsonNumber(found[0], isInteger);
  }

  #string(): string {
    this.#expect('"');
    let from = this.#at;
    let content = "";
    for (;;) {
      const c = this.#text.charCodeAt(this.#at);
      if (c === QUOTE) {
        content += this.#text.slice(from, this.#at++);
        return content;
      }
      if (c === BACKSLASH) {
        content += this.#text.slice(from, this.#at++) + this.#escape();
        from = this.#at;
        continue;
      }
      if (!(c >= 0x20)) throw new NotJson(); // a control character, or the end: NaN
      this.#at++;
    }
  }

  /** Reads what follows a backslash. Halves of a surrogate pair join by standing side by side. */
  #escape(): string {
    const letter = this.#text[this.#at++] ?? "";
    if (letter !== "u") {
      const meant = ESCAPES[letter];
      if (meant === undefined) throw new NotJson();
      return meant;
    }
    HEX4.lastIndex = this.#at;
    const found = HEX4.exec(this.#text);
    if (found === null) throw new NotJson();
    this.#at = HEX4.lastIndex;
    return String.fromCharCode(parseInt(found[0], 16));
  }
}
