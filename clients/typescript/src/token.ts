/** The access token (JWT, RFC 9068): its one accepted spelling and what it claims. Nothing here is believed yet. */
import { decodeBase64url, endsWell } from "./base64url.js";
import { JsonNumber, parseObject, type JsonValue } from "./json.js";
import type { Claims } from "./verdict.js";

export const TOKEN_TYPE = "at+jwt";
export const LEEWAY_S = 5;
export const MAX_TOKEN_LENGTH = 8192;
const MAX_INSTANT = 2 ** 53;
const SHAPE = /^[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*$/;
const POSITION = /^[0-9a-f]{16}$/;
const FORBIDDEN_HEADERS = ["jku", "x5u", "jwk", "crit", "b64"];

/** The part of a JOSE header that decides anything. */
export interface Header {
  readonly kid: string;
  readonly alg: string;
  readonly typ: string;
}

/** A well-formed token. */
export interface ParsedToken {
  readonly header: Header;
  readonly claims: Claims;
  /** What the signature is over. */
  readonly signed: string;
  readonly signature: Buffer;
}

/** A claim is missing or of the wrong type. */
class BadClaim extends Error {}

/**
 * Returns a token's parts, or undefined if it is MALFORMED. `known` maps header segments of the keys at hand to their
 * meaning, so that the usual token costs no parse of its header.
 */
export function parseToken(token: string, known: ReadonlyMap<string, Header>): ParsedToken | undefined {
  if (token.length > MAX_TOKEN_LENGTH || !SHAPE.test(token)) return undefined;
  const first = token.indexOf(".");
  const last = token.lastIndexOf(".");
  const segment = token.slice(0, first);
  const header = known.get(segment) ?? parseHeader(segment);
  if (header === undefined) return undefined;
  const payload = token.slice(first + 1, last);
  const signature = token.slice(last + 1);
  if (!endsWell(payload) || !endsWell(signature)) return undefined;
  const claims = parseClaims(Buffer.from(payload, "base64url"));
  if (claims === undefined) return undefined;
  return { header, claims, signed: token.slice(0, last), signature: Buffer.from(signature, "base64url") };
}

/** The first segment of every token that a server makes with this key. */
export function headerSegment(header: Header): string {
  return Buffer.from(JSON.stringify({ typ: header.typ, alg: header.alg, kid: header.kid })).toString("base64url");
}

function parseHeader(segment: string): Header | undefined {
  const raw = decodeBase64url(segment);
  const members = raw && parseObject(raw);
  if (members === undefined || FORBIDDEN_HEADERS.some((name) => members.has(name))) return undefined;
  try {
    const typ = members.has("typ") ? text(members.get("typ")) : "";
    const header = { kid: text(members.get("kid")), alg: text(members.get("alg")), typ };
    return header.alg.toLowerCase() === "none" ? undefined : header;
  } catch (error) {
    if (error instanceof BadClaim) return undefined;
    throw error;
  }
}

/**
 * Returns the claims; undefined if a required one is missing or any is of the wrong type.
 *
 * Stricter than RFC 7519 on purpose: integers are integers, names occur once, text has no lone surrogates; each of these
 * trips something behind some library that lets it through.
 */
function parseClaims(payload: Buffer): Claims | undefined {
  const members = parseObject(payload);
  if (members === undefined) return undefined;
  try {
    const audience = members.get("aud");
    const openid = optionalText(members.get("openid"));
    const externalId = optionalText(members.get("external_id"));
    return Object.freeze({
      issuer: text(members.get("iss")),
      userId: text(members.get("sub")),
      sessionId: text(members.get("sid")),
      appId: text(members.get("client_id")),
      tokenId: text(members.get("jti")),
      ...(openid !== undefined && { openid }),
      ...(externalId !== undefined && { externalId }),
      audiences: Array.isArray(audience) ? texts(audience) : Object.freeze([text(audience)]),
      scopes: words(text(members.get("scope"))),
      roles: members.has("roles") ? texts(members.get("roles")) : NOTHING,
      previousUserIds: members.has("prev") ? texts(members.get("prev")) : NOTHING,
      issuedAt: instant(members.get("iat")),
      notBefore: instant(members.get("nbf")),
      expiresAt: instant(members.get("exp")),
      position: position(members.get("sp")),
    });
  } catch (error) {
    if (error instanceof BadClaim) return undefined;
    throw error;
  }
}

const NOTHING: readonly string[] = Object.freeze([]);

function text(value: JsonValue | undefined): string {
  if (typeof value !== "string" || !value.isWellFormed()) throw new BadClaim();
  return value;
}

function optionalText(value: JsonValue | undefined): string | undefined {
  return value === undefined || value === null ? undefined : text(value);
}

function texts(value: JsonValue | undefined): readonly string[] {
  if (!Array.isArray(value)) throw new BadClaim();
  return Object.freeze(value.map(text));
}

/** Separated by spaces and by nothing else (RFC 6749 section 3.3). */
function words(value: string): readonly string[] {
  return Object.freeze(value.split(" ").filter((word) => word !== ""));
}

function instant(value: JsonValue | undefined): number {
  if (!(value instanceof JsonNumber) || !value.isInteger) throw new BadClaim();
  const seconds = Number(value.text);
  // Beyond 2^53 numbers are rounded, but none is rounded below it.
  if (!(seconds >= 0 && seconds < MAX_INSTANT)) throw new BadClaim();
  return seconds + 0; // -0 is 0
}

function position(value: JsonValue | undefined): bigint {
  const digits = text(value);
  if (!POSITION.test(digits)) throw new BadClaim();
  return BigInt(`0x${digits}`);
}
