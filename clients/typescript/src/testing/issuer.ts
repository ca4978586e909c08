import { createHash, generateKeyPairSync, randomBytes, sign, type KeyObject } from "node:crypto";

import { create } from "@bufbuild/protobuf";

import { GetJwksResponseSchema, type GetJwksResponse } from "../authapi/v1/key_service_pb.js";
import { headerSegment, TOKEN_TYPE } from "../token.js";
import type { Claims } from "../verdict.js";

const LIFETIME_S = 7200;
const MAX_AGE_S = 300n;
const MAX_LIFETIME_S = 86_400n;

/** Mints tokens as authsvc does, with an ES256 key of its own. */
export class Issuer {
  /** The kid of its tokens. */
  readonly keyId: string;
  readonly #private: KeyObject;
  readonly #public: Readonly<Record<string, string>>;
  readonly #header: string;

  /** `name` is the claim iss of its tokens; `now` tells the time of issue, in milliseconds. */
  constructor(
    readonly name = "authsvc",
    private readonly now: () => number = Date.now,
  ) {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const { x, y } = publicKey.export({ format: "jwk" });
    // RFC 7638: the required members in the order of their names, without spaces.
    this.#public = { crv: "P-256", kty: "EC", x: x!, y: y! };
    this.keyId = createHash("sha256").update(JSON.stringify(this.#public)).digest("base64url");
    this.#private = privateKey;
    this.#header = headerSegment({ typ: TOKEN_TYPE, alg: "ES256", kid: this.keyId });
  }

  /**
   * Returns a token that says what the claims say. What is left out is filled in: ids, audience "orders", issued now, good
   * for two hours.
   */
  mint(claims: Partial<Claims> = {}): string {
    const now = Math.floor(this.now() / 1000);
    const payload = {
      iss: claims.issuer ?? this.name,
      sub: claims.userId ?? newId(),
      sid: claims.sessionId ?? newId(),
      jti: claims.tokenId ?? newId(),
      client_id: claims.appId ?? "wx00000000000000d1",
      aud: claims.audiences ?? ["orders"],
      iat: claims.issuedAt ?? now,
      nbf: claims.notBefore ?? now,
      exp: claims.expiresAt ?? now + LIFETIME_S,
      scope: (claims.scopes ?? []).join(" "),
      sp: (claims.position ?? 0n).toString(16).padStart(16, "0"),
      openid: claims.openid,
      external_id: claims.externalId,
      roles: claims.roles?.length ? claims.roles : undefined,
      prev: claims.previousUserIds?.length ? claims.previousUserIds : undefined,
    };
    const signed = `${this.#header}.${Buffer.from(JSON.stringify(payload)).toString("base64url")}`;
    const signature = sign("sha256", Buffer.from(signed), { key: this.#private, dsaEncoding: "ieee-p1363" });
    return `${signed}.${signature.toString("base64url")}`;
  }

  /** Its public key as a member of a key set. */
  jwk(): Record<string, string> {
    return { ...this.#public, use: "sig", alg: "ES256", kid: this.keyId };
  }
}

/** What KeyService.GetJwks answers for these issuers' tokens. */
export function keySet(...issuers: readonly Issuer[]): GetJwksResponse {
  return create(GetJwksResponseSchema, {
    jwksJson: JSON.stringify({ keys: issuers.map((issuer) => issuer.jwk()) }),
    issuer: issuers.at(-1)?.name ?? "authsvc",
    maxAge: { seconds: MAX_AGE_S },
    maxTokenLifetime: { seconds: MAX_LIFETIME_S },
  });
}

/** A fresh id as authsvc spells its own: 128 random bits in 22 characters. */
export function newId(): string {
  return randomBytes(16).toString("base64url");
}
