/** Base64url with one spelling for every run of bytes: no padding, no bits that belong to no byte (RFC 4648 section 3.5). */

const LETTERS = /^[A-Za-z0-9_-]*$/;
// By length modulo 4: the last letters whose spare bits are zero. One letter alone is nothing.
const LAST_OF_TWO = "AQgw";
const LAST_OF_THREE = "AEIMQUYcgkosw048";

/** Whether the text is the one spelling of some bytes. */
export function isCanonical(text: string): boolean {
  return LETTERS.test(text) && endsWell(text);
}

/** The same of a text whose letters are known to be base64url's. */
export function endsWell(text: string): boolean {
  switch (text.length % 4) {
    case 0:
      return true;
    case 2:
      return LAST_OF_TWO.includes(text[text.length - 1]!);
    case 3:
      return LAST_OF_THREE.includes(text[text.length - 1]!);
    default:
      return false;
  }
}

/** The bytes, or undefined if the text is not their one spelling. */
export function decodeBase64url(text: string): Buffer | undefined {
  return isCanonical(text) ? Buffer.from(text, "base64url") : undefined;
}
