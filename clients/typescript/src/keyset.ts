import { createPublicKey, verify, type JsonWebKey, type KeyObject } from "node:crypto";

import type { GetJwksResponse } from "./authapi/v1/key_service_pb.js";
import { decodeBase64url } from "./base64url.js";
import { seconds } from "./instants.js";
import { headerSegment, TOKEN_TYPE, type Header } from "./token.js";

const MIN_RSA_BITS = 2048;

/** Checks signatures of one key with the one algorithm it is for. */
export interface PublicKey {
  readonly alg: string;
  verify(signed: string, signature: Buffer): boolean;
}

/** One answer of GetJwks. */
export interface KeySet {
  readonly keys: ReadonlyMap<string, PublicKey>;
  /** What the server's spelling of a header means; another one is parsed. */
  readonly headers: ReadonlyMap<string, Header>;
  /** For good, whatever a later answer says. */
  readonly withdrawn: ReadonlySet<string>;
  readonly issuer: string;
  /** In seconds. */
  readonly maxLifetime: number;
  /** In seconds. */
  readonly maxAge: number;
}

/** Before the first answer. */
export const NO_KEYS: KeySet = {
  keys: new Map(),
  headers: new Map(),
  withdrawn: new Set(),
  issuer: "",
  maxLifetime: 0,
  maxAge: 0,
};

/**
 * Reads an answer of GetJwks; throws if it is no key set. A key that a verifier has no use for is ignored: another kind,
 * curve or algorithm, an algorithm that does not fit the key, RSA below 2048 bits. What was withdrawn `before` stays so.
 */
export function readKeySet(response: GetJwksResponse, before: ReadonlySet<string>): KeySet {
  const document = JSON.parse(response.jwksJson) as { keys?: unknown } | null;
  const maxLifetime = seconds(response.maxTokenLifetime);
  if (!Array.isArray(document?.keys) || response.issuer === "" || maxLifetime <= 0) throw new Error("no key set with its rules");
  const withdrawn = new Set([...before, ...response.withdrawnKeyIds]);
  const keys = new Map<string, PublicKey>();
  const headers = new Map<string, Header>();
  for (const jwk of document.keys as unknown[]) {
    const kid = textOf(jwk, "kid");
    const key = publicKey(jwk);
    // A second key of the same name would make the verdict a matter of order.
    if (kid === "" || !kid.isWellFormed() || key === undefined || withdrawn.has(kid) || keys.has(kid)) continue;
    keys.set(kid, key);
    const header = { kid, alg: key.alg, typ: TOKEN_TYPE };
    headers.set(headerSegment(header), header);
  }
  return {
    keys,
    headers,
    withdrawn,
    issuer: response.issuer,
    maxLifetime,
    maxAge: seconds(response.maxAge),
  };
}

function textOf(jwk: unknown, name: string): string {
  const value = typeof jwk === "object" && jwk !== null ? (jwk as Record<string, unknown>)[name] : undefined;
  return typeof value === "string" ? value : "";
}

function publicKey(jwk: unknown): PublicKey | undefined {
  const use = textOf(jwk, "use");
  if (use !== "" && use !== "sig") return undefined;
  const [kty, crv] = [textOf(jwk, "kty"), textOf(jwk, "crv")];
  switch (textOf(jwk, "alg")) {
    case "ES256":
      return kty === "EC" && crv === "P-256" ? es256(jwk) : undefined;
    case "EdDSA":
      return kty === "OKP" && crv === "Ed25519" ? eddsa(jwk) : undefined;
    case "RS256":
      return kty === "RSA" ? rs256(jwk) : undefined;
    default:
      return undefined;
  }
}

/** Members that are the one spelling of so many bytes, as a key; undefined where they are not, or are no key. */
function imported(jwk: unknown, kind: JsonWebKey, sizes: Readonly<Record<string, number>>): KeyObject | undefined {
  const key: JsonWebKey = { ...kind };
  for (const [name, size] of Object.entries(sizes)) {
    const value = textOf(jwk, name);
    const raw = decodeBase64url(value);
    if (raw === undefined || (size > 0 && raw.length !== size)) return undefined;
    key[name] = value;
  }
  try {
    return createPublicKey({ key, format: "jwk" }); // proves that a point is on its curve
  } catch {
    return undefined;
  }
}

function es256(jwk: unknown): PublicKey | undefined {
  const key = imported(jwk, { kty: "EC", crv: "P-256" }, { x: 32, y: 32 });
  if (key === undefined) return undefined;
  const how = { key, dsaEncoding: "ieee-p1363" } as const; // RFC 7518 section 3.4: r and s, 32 bytes each
  return {
    alg: "ES256",
    verify: (signed, signature) => signature.length === 64 && verify("sha256", Buffer.from(signed, "latin1"), how, signature),
  };
}

function eddsa(jwk: unknown): PublicKey | undefined {
  const key = imported(jwk, { kty: "OKP", crv: "Ed25519" }, { x: 32 });
  if (key === undefined) return undefined;
  return {
    alg: "EdDSA",
    verify: (signed, signature) => signature.length === 64 && verify(null, Buffer.from(signed, "latin1"), key, signature),
  };
}

function rs256(jwk: unknown): PublicKey | undefined {
  const key = imported(jwk, { kty: "RSA" }, { n: 0, e: 0 });
  const { modulusLength, publicExponent } = key?.asymmetricKeyDetails ?? {};
  const modulus = decodeBase64url(textOf(jwk, "n"));
  if (key === undefined || modulusLength === undefined || publicExponent === undefined || modulus === undefined) return undefined;
  const isOdd = modulus.length > 0 && modulus[modulus.length - 1]! % 2 === 1;
  const fits = publicExponent >= 3n && publicExponent % 2n === 1n && publicExponent < 2n ** 31n;
  if (modulusLength < MIN_RSA_BITS || !isOdd || !fits) return undefined;
  return {
    alg: "RS256",
    verify: (signed, signature) => verify("sha256", Buffer.from(signed, "latin1"), key, signature),
  };
}
