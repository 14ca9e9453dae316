/** Who makes a call: a role's session (Lambda, state machine, host) or the account's administrator. */
export interface Caller {
  readonly arn: string;
  /** `aws:userid`: `<role id>:<session name>`. */
  readonly userId: string;
  /** Policy statements as the template holds them, resolved; the administrator has one that allows all. */
  readonly statements: readonly PolicyStatement[];
}

export interface PolicyStatement {
  Effect: 'Allow' | 'Deny';
  Action?: string | string[];
  NotAction?: string | string[];
  Resource?: string | string[];
  NotResource?: string | string[];
  Condition?: Record<string, Record<string, string | string[]>>;
}

/** What a call needs to be allowed: one entry for each action it amounts to. */
export interface RequiredPermission {
  action: string;
  resource: string;
  context?: Record<string, string | string[]>;
}

/** One embedded AWS service. Operations and their inputs are those of the real API's model. */
export interface Service {
  /** Which permissions a call needs; called before `call`. Fails with NotImplemented on an unknown operation. */
  requiredPermissions(operation: string, input: JsonObject): RequiredPermission[];
  call(operation: string, input: JsonObject, caller: Caller): Promise<JsonObject>;
}

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** An error as the AWS wire protocols carry it. `code` is the API's exception name. */
export class AwsError extends Error {
  readonly code: string;
  readonly status: number;
  readonly extra: JsonObject;

  constructor(code: string, message: string, status = 400, extra: JsonObject = {}) {
    super(message);
    this.name = code;
    this.code = code;
    this.status = status;
    this.extra = extra;
  }
}

/** Loud, by name: what the embedded AWS does not do is never quietly ignored. */
export function notImplemented(what: string): AwsError {
  return new AwsError('NotImplemented', `The embedded AWS does not implement ${what}.`, 501);
}

/**
 * The one way into a service, used by the wire endpoint, by Lambda code in process, and by state machines: authorizes the
 * caller, then calls. `service` is the endpoint prefix: `dynamodb`, `states`, `ssm`, `events`, `lambda`, `logs`.
 */
export type CallAws = (service: string, operation: string, input: JsonObject, caller: Caller) => Promise<JsonObject>;
