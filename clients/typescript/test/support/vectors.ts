/** The shared vectors; clients/conformance/README.md says what they mean. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";

import { fromBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";

import { CannotKnow, type Claims, type Requirement, type Verdict, type WhenStale } from "../../src/index.js";

export interface VectorMessage {
  readonly base64: string;
}

export interface VectorVerdict {
  readonly active?: Readonly<Record<string, unknown>>;
  readonly inactive?: string;
  readonly session_end_reason?: string;
  readonly unavailable?: string;
}

export interface VectorRequire {
  readonly audience: string;
  readonly scopes: string[];
  readonly roles: string[];
}

export interface VectorFile<C> {
  readonly format: number;
  readonly count: number;
  readonly key_sets: Readonly<Record<string, VectorMessage>>;
  readonly tokens: Readonly<Record<string, { token: string; require: VectorRequire }>>;
  readonly cases: readonly C[];
}

/** Undefined where they are not beside this package: a copy outside the repository. */
export function readVectors<C>(name: string): VectorFile<C> | undefined {
  const path = new URL(`../../../../conformance/${name}`, import.meta.url);
  if (!existsSync(path)) return undefined;
  const file = JSON.parse(readFileSync(path, "utf8")) as VectorFile<C>;
  assert.equal(file.format, 1, "not a format that this runner knows");
  assert.ok(file.count > 0 && file.cases.length >= file.count, `${file.cases.length} cases of ${file.count}`);
  return file;
}

export function decode<D extends DescMessage>(schema: D, message: VectorMessage | undefined): MessageShape<D> {
  assert.ok(message, "no such message");
  return fromBinary(schema, Buffer.from(message.base64, "base64"));
}

export function policyOf(name: string): WhenStale {
  assert.ok(name === "ask" || name === "unavailable" || name === "accept", `unknown policy ${name}`);
  return name;
}

/** A verdict in the vectors' own words. */
export async function verdictOf(verifying: Promise<Verdict>): Promise<VectorVerdict> {
  let verdict: Verdict;
  try {
    verdict = await verifying;
  } catch (error) {
    if (error instanceof CannotKnow) return { unavailable: error.reason };
    throw error;
  }
  if (verdict.active) return { active: saidBy(verdict.claims) };
  return { inactive: verdict.reason, ...(verdict.endReason !== undefined && { session_end_reason: verdict.endReason }) };
}

export function requirement({ audience, scopes, roles }: VectorRequire): Requirement {
  return { audience, scopes, roles };
}

function saidBy(claims: Claims): Record<string, unknown> {
  return {
    user_id: claims.userId,
    session_id: claims.sessionId,
    app_id: claims.appId,
    audiences: claims.audiences,
    scopes: claims.scopes,
    roles: claims.roles,
    token_id: claims.tokenId,
    issued_at: claims.issuedAt,
    expires_at: claims.expiresAt,
    position: claims.position.toString(16).padStart(16, "0"),
    previous_user_ids: claims.previousUserIds,
    ...(claims.openid !== undefined && { openid: claims.openid }),
    ...(claims.externalId !== undefined && { external_id: claims.externalId }),
  };
}
