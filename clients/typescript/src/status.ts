/** The details of a gRPC status: google.rpc.Status with ErrorInfo and RetryInfo, read and written by field number. */
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { Metadata, status, type ServiceError, type StatusObject } from "@grpc/grpc-js";

const DETAILS = "grpc-status-details-bin";
const TYPE = "type.googleapis.com/google.rpc.";
const DOMAIN = "authsvc";

/** Why a call failed, as the contract's ErrorReason names it. Switch on this, never on text. */
export interface ErrorInfo {
  /** `ErrorReason` without its prefix: "SESSION_ENDED" for one. */
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Where waiting helps. */
  readonly retryAfterMs?: number;
}

/** What authsvc said of an error; undefined where a library or a proxy made it, which is never a verdict about a token. */
export function errorInfo(error: unknown): ErrorInfo | undefined {
  const { metadata } = error as Partial<ServiceError>;
  const raw = metadata instanceof Metadata ? metadata.get(DETAILS)[0] : undefined;
  if (!Buffer.isBuffer(raw)) return undefined;
  try {
    return readDetails(raw);
  } catch {
    return undefined; // bytes that are no message
  }
}

function readDetails(raw: Uint8Array): ErrorInfo | undefined {
  let info: ErrorInfo | undefined;
  let retryAfterMs: number | undefined;
  for (const [field, detail] of fields(raw)) {
    if (field !== 3) continue;
    const any = new Map(fields(detail));
    const [type, value] = [textOf(any.get(1)), any.get(2) ?? new Uint8Array()];
    if (type === `${TYPE}ErrorInfo`) info = readInfo(value);
    if (type === `${TYPE}RetryInfo`) retryAfterMs = readDelay(value);
  }
  return info && (retryAfterMs === undefined ? info : { ...info, retryAfterMs });
}

function readInfo(raw: Uint8Array): ErrorInfo | undefined {
  let [reason, domain] = ["", ""];
  const metadata: Record<string, string> = {};
  for (const [field, value] of fields(raw)) {
    if (field === 1) reason = textOf(value);
    if (field === 2) domain = textOf(value);
    if (field === 3) {
      const entry = new Map(fields(value));
      metadata[textOf(entry.get(1))] = textOf(entry.get(2));
    }
  }
  return domain === DOMAIN ? { reason, metadata } : undefined;
}

/** RetryInfo { Duration retry_delay = 1; }. */
function readDelay(raw: Uint8Array): number {
  const duration = new Map(fields(raw)).get(1) ?? new Uint8Array();
  const reader = new BinaryReader(duration);
  let total = 0;
  while (reader.pos < reader.len) {
    const [field] = reader.tag();
    const value = Number(reader.int64());
    total += field === 1 ? value * 1000 : value / 1e6;
  }
  return total;
}

/** The length-delimited fields of a message. */
function* fields(raw: Uint8Array): Generator<[number, Uint8Array]> {
  const reader = new BinaryReader(raw);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === 2) yield [field, reader.bytes()];
    else reader.skip(type, field);
  }
}

function textOf(raw: Uint8Array | undefined): string {
  return raw === undefined ? "" : Buffer.from(raw).toString();
}

/** A status as authsvc itself would answer. */
export function makeStatus(code: status, text: string, reason: string, retryAfterMs?: number): StatusObject {
  const details = [any("ErrorInfo", new BinaryWriter().tag(1, 2).string(reason).tag(2, 2).string(DOMAIN).finish())];
  if (retryAfterMs !== undefined) {
    const [seconds, nanos] = [Math.floor(retryAfterMs / 1000), (retryAfterMs % 1000) * 1e6];
    const delay = new BinaryWriter().tag(1, 0).int64(seconds).tag(2, 0).int32(nanos).finish();
    details.push(any("RetryInfo", new BinaryWriter().tag(1, 2).bytes(delay).finish()));
  }
  const whole = new BinaryWriter().tag(1, 0).int32(code).tag(2, 2).string(text);
  for (const detail of details) whole.tag(3, 2).bytes(detail);
  const metadata = new Metadata();
  metadata.set(DETAILS, Buffer.from(whole.finish()));
  return { code, details: text, metadata };
}

function any(name: string, value: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(1, 2).string(TYPE + name).tag(2, 2).bytes(value).finish();
}
