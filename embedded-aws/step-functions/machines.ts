import type { Clock } from '../../common/clock.ts';
import { type Random, uuid } from '../core/random.ts';
import { AwsError, type Caller, type Json, type JsonObject, notImplemented } from '../core/service.ts';
import { checkMachineArn, checkName, machineArn } from './common/arns.ts';
import type { Definition } from './definition/definition.ts';
import { parseDefinition } from './definition/parse-definition.ts';
import type { Diagnostic } from './diagnostics/fields.ts';
import { optionalChoice, optionalText, text } from './input.ts';
import { page } from './paging.ts';

/** A machine as it is at one time; an execution keeps the one it was started with. */
export interface MachineRevision {
  readonly arn: string;
  readonly name: string;
  readonly roleArn: string;
  readonly definitionText: string;
  readonly definition: Definition;
  /** Whom the calls of its executions are made as. */
  readonly caller: Caller;
  /** When this revision came to be, in ms since the epoch. */
  readonly updatedAt: number;
  readonly revisionId: string | undefined;
  /** What is kept to be described only: the embedded AWS neither logs nor traces. */
  readonly kept: JsonObject;
}

export interface Machine {
  revision: MachineRevision;
  readonly createdAt: number;
  /** Deleted, but with executions still running. */
  deleting: boolean;
}

const KEPT = ['loggingConfiguration', 'tracingConfiguration', 'encryptionConfiguration'];

/** The account's state machines, and the operations on them. */
export class Machines {
  readonly #machines = new Map<string, Machine>();
  readonly #options: MachinesOptions;

  constructor(options: MachinesOptions) {
    this.#options = options;
  }

  create(input: JsonObject): JsonObject {
    const { clock, region, account } = this.#options;
    refuseUnsupported(input);
    const name = text(input, 'name');
    checkName(name);
    const arn = machineArn(region, account, name);
    const existing = this.#machines.get(arn);
    if (existing !== undefined) return created(this.#same(existing, input));
    const roleArn = text(input, 'roleArn');
    const definitionText = text(input, 'definition');
    const revision: MachineRevision = {
      arn,
      name,
      roleArn,
      definitionText,
      definition: parsed(definitionText),
      caller: this.#options.callerForRole(roleArn),
      updatedAt: clock.now(),
      revisionId: undefined,
      kept: kept(input),
    };
    const machine = { revision, createdAt: clock.now(), deleting: false };
    this.#machines.set(arn, machine);
    return created(machine);
  }

  /** What is not given stays as it is. */
  update(input: JsonObject): JsonObject {
    refuseUnsupported(input);
    const machine = this.active(text(input, 'stateMachineArn'));
    const { revision } = machine;
    const definitionText = optionalText(input, 'definition');
    const roleArn = optionalText(input, 'roleArn');
    const changes = kept(input);
    if (definitionText === undefined && roleArn === undefined && Object.keys(changes).length === 0) {
      throw new AwsError(
        'MissingRequiredParameter',
        'Either the definition, the role ARN, or a configuration must be specified',
      );
    }
    machine.revision = {
      ...revision,
      ...(definitionText !== undefined && { definitionText, definition: parsed(definitionText) }),
      ...(roleArn !== undefined && { roleArn, caller: this.#options.callerForRole(roleArn) }),
      kept: { ...revision.kept, ...changes },
      updatedAt: this.#options.clock.now(),
      revisionId: uuid(this.#options.random),
    };
    return { updateDate: seconds(machine.revision.updatedAt), revisionId: machine.revision.revisionId! };
  }

  /** Marks a machine as deleted; it is gone with `remove`, once none of its executions runs any more. */
  delete(arn: string): void {
    checkMachineArn(arn);
    const machine = this.#machines.get(arn);
    if (machine !== undefined) machine.deleting = true;
  }

  isDeleting(arn: string): boolean {
    return this.#machines.get(arn)?.deleting === true;
  }

  remove(arn: string): void {
    this.#machines.delete(arn);
  }

  describe(input: JsonObject): JsonObject {
    const machine = this.find(text(input, 'stateMachineArn'));
    return {
      ...described(machine.revision),
      status: machine.deleting ? 'DELETING' : 'ACTIVE',
      type: 'STANDARD',
      creationDate: seconds(machine.createdAt),
    };
  }

  list(input: JsonObject): JsonObject {
    const { page: machines, nextToken } = page([...this.#machines.values()], input, { newestFirst: false });
    return {
      stateMachines: machines.map(({ revision, createdAt }) => ({
        stateMachineArn: revision.arn,
        name: revision.name,
        type: 'STANDARD',
        creationDate: seconds(createdAt),
      })),
      ...(nextToken !== undefined && { nextToken }),
    };
  }

  /** Throws InvalidArn and StateMachineDoesNotExist. */
  find(arn: string): Machine {
    checkMachineArn(arn);
    const machine = this.#machines.get(arn);
    if (machine === undefined) {
      throw new AwsError('StateMachineDoesNotExist', `State Machine Does Not Exist: '${arn}'`);
    }
    return machine;
  }

  /** A machine that may be changed and started; throws StateMachineDeleting besides what `find` throws. */
  active(arn: string): Machine {
    const machine = this.find(arn);
    if (machine.deleting) throw new AwsError('StateMachineDeleting', `State Machine is being deleted: '${arn}'`);
    return machine;
  }

  /** Creating a machine again is harmless when nothing differs but the role, which is not looked at (as on AWS). */
  #same(machine: Machine, input: JsonObject): Machine {
    const { arn, definitionText, kept: configuration } = machine.revision;
    if (machine.deleting) throw new AwsError('StateMachineDeleting', `State Machine is being deleted: '${arn}'`);
    if (text(input, 'definition') !== definitionText || JSON.stringify(kept(input)) !== JSON.stringify(configuration)) {
      throw new AwsError('StateMachineAlreadyExists', `State Machine Already Exists: '${arn}'`);
    }
    return machine;
  }
}

export interface MachinesOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly region: string;
  readonly account: string;
  callerForRole(roleArn: string): Caller;
}

export function validateDefinition(input: JsonObject): JsonObject {
  const parsed = parseDefinition(text(input, 'definition'));
  const diagnostics = parsed.ok ? [] : parsed.diagnostics;
  return {
    result: parsed.ok ? 'OK' : 'FAIL',
    diagnostics: diagnostics.map((diagnostic): Json => ({ severity: 'ERROR', ...diagnostic })),
    truncated: false,
  };
}

/** The members DescribeStateMachine and DescribeStateMachineForExecution share. */
export function described({ arn, name, roleArn, definitionText, revisionId, kept }: MachineRevision): JsonObject {
  return {
    stateMachineArn: arn,
    name,
    definition: definitionText,
    roleArn,
    ...kept,
    ...(revisionId !== undefined && { revisionId }),
  };
}

/** The JSON protocol's timestamps are seconds. */
export function seconds(ms: number): number {
  return ms / 1_000;
}

/** A simulation makes the same machines again for every world; a process that makes ever others must not be filled with them. */
const CACHE_LIMIT = 100;
const definitions = new Map<string, Definition>();

function parsed(definitionText: string): Definition {
  const known = definitions.get(definitionText);
  if (known !== undefined) return known;
  const result = parseDefinition(definitionText);
  if (result.ok) {
    if (definitions.size >= CACHE_LIMIT) definitions.clear();
    definitions.set(definitionText, result.definition);
    return result.definition;
  }
  const problems = result.diagnostics.map(problem).join(', ');
  throw new AwsError('InvalidDefinition', `Invalid State Machine Definition: '${problems}'`);
}

function problem({ code, message, location }: Diagnostic): string {
  return location === '' ? `${code}: ${message}` : `${code}: ${message} at ${location}`;
}

function created({ revision, createdAt }: Machine): JsonObject {
  return { stateMachineArn: revision.arn, creationDate: seconds(createdAt) };
}

function kept(input: JsonObject): JsonObject {
  return Object.fromEntries(KEPT.flatMap((member) => (input[member] ? [[member, input[member]]] : [])));
}

function refuseUnsupported(input: JsonObject): void {
  if (optionalChoice(input, 'type', ['STANDARD', 'EXPRESS']) === 'EXPRESS') {
    throw notImplemented('Express workflows (type EXPRESS)');
  }
  if (input.publish === true) throw notImplemented('versions of state machines (publish)');
}
