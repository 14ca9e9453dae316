import type { Clock } from '../../common/clock.ts';
import { type Random, uuid } from '../core/random.ts';
import {
  type CallAws,
  type Caller,
  type JsonObject,
  notImplemented,
  type RequiredPermission,
  type Service,
} from '../core/service.ts';
import { machineArn } from './common/arns.ts';
import { TaskTokens } from './common/task-tokens.ts';
import type { Execution } from './execution.ts';
import { Executions } from './executions.ts';
import { jsonataFunctions } from './expressions/functions.ts';
import { optionalText, text } from './input.ts';
import type { Environment } from './interpreter/branch.ts';
import { Machines, validateDefinition } from './machines.ts';
import { statusChange } from './status-change.ts';

export interface StepFunctionsOptions {
  readonly clock: Clock;
  /** Numbers in [0, 1): UUIDs, jitter and the expressions' random functions come from here. */
  readonly random: Random;
  readonly region: string;
  readonly account: string;
  /** How executions call services, Step Functions itself included. */
  readonly callAws: CallAws;
  /** The session of a role named in CreateStateMachine; throws when there is no such role. */
  callerForRole(roleArn: string): Caller;
  /** Takes "Step Functions Execution Status Change" events, whole, for the default event bus. */
  emit(event: JsonObject): void;
}

export interface StepFunctionsService extends Service {
  /** Stops every running execution and resolves when they have come to rest; no timers are left. */
  close(): Promise<void>;
}

interface Operation {
  /** The resource that the permission is asked for. */
  resource(input: JsonObject): string;
  run(input: JsonObject): JsonObject | Promise<JsonObject>;
}

/** AWS Step Functions in this process: standard workflows in the JSONata query language. */
export function createStepFunctions(options: StepFunctionsOptions): StepFunctionsService {
  const { clock, random, region, account, callAws, emit } = options;
  const machines = new Machines(options);
  const executions = new Executions({
    clock,
    machines,
    newName: () => uuid(random),
    start: (execution) => void begin(execution),
  });
  const tokens = new TaskTokens(random, (arn) => executions.exists(arn));
  const environment: Environment = {
    clock,
    random,
    region,
    tokens,
    functions: jsonataFunctions(clock, random),
    whenEnded: (arn) => executions.find(arn).ended,
  };

  const announce = (execution: Execution) =>
    emit(statusChange(execution, { id: uuid(random), account, region, now: clock.now() }));

  const begin = async (execution: Execution) => {
    const { arn, caller } = execution.machine;
    announce(execution);
    // The answer to StartExecution goes out before the first state is entered.
    await Promise.resolve();
    await execution.run(environment, (service, operation, input) => callAws(service, operation, input, caller));
    announce(execution);
    if (machines.isDeleting(arn)) removeIdle(arn);
  };

  const removeIdle = (arn: string) => {
    if (executions.isRunning(arn)) return;
    machines.remove(arn);
    executions.forget(arn);
  };

  const onMachine = (input: JsonObject) => optionalText(input, 'stateMachineArn') ?? '*';
  const onExecution = (input: JsonObject) => optionalText(input, 'executionArn') ?? '*';
  const onToken = (input: JsonObject) => tokens.machineOf(optionalText(input, 'taskToken') ?? '') ?? '*';
  const onAll = () => '*';

  const operations: { [name: string]: Operation } = {
    CreateStateMachine: {
      resource: (input) => machineArn(region, account, optionalText(input, 'name') ?? ''),
      run: (input) => machines.create(input),
    },
    UpdateStateMachine: { resource: onMachine, run: (input) => machines.update(input) },
    DeleteStateMachine: {
      resource: onMachine,
      run: (input) => {
        const arn = text(input, 'stateMachineArn');
        machines.delete(arn);
        removeIdle(arn);
        return {};
      },
    },
    DescribeStateMachine: { resource: onMachine, run: (input) => machines.describe(input) },
    DescribeStateMachineForExecution: { resource: onExecution, run: (input) => executions.describeMachine(input) },
    ListStateMachines: { resource: onAll, run: (input) => machines.list(input) },
    ValidateStateMachineDefinition: { resource: onAll, run: validateDefinition },
    StartExecution: { resource: onMachine, run: (input) => executions.start(input) },
    StopExecution: { resource: onExecution, run: (input) => executions.stop(input) },
    DescribeExecution: { resource: onExecution, run: (input) => executions.describe(input) },
    ListExecutions: { resource: onMachine, run: (input) => executions.list(input) },
    GetExecutionHistory: { resource: onExecution, run: (input) => executions.history(input) },
    SendTaskSuccess: {
      resource: onToken,
      run: (input) => {
        tokens.succeed(text(input, 'taskToken'), text(input, 'output'));
        return {};
      },
    },
    SendTaskFailure: {
      resource: onToken,
      run: (input) => {
        tokens.fail(text(input, 'taskToken'), optionalText(input, 'error'), optionalText(input, 'cause'));
        return {};
      },
    },
    SendTaskHeartbeat: {
      resource: onToken,
      run: (input) => {
        tokens.heartbeat(text(input, 'taskToken'));
        return {};
      },
    },
  };

  const operationOf = (name: string): Operation => {
    const operation = Object.hasOwn(operations, name) ? operations[name] : undefined;
    if (operation === undefined) throw notImplemented(`the Step Functions operation ${name}`);
    return operation;
  };

  return {
    requiredPermissions(name, input) {
      const permissions: RequiredPermission[] = [
        { action: `states:${name}`, resource: operationOf(name).resource(input) },
      ];
      // A caller that gives a machine a role needs iam:PassRole on that role.
      const roleArn = optionalText(input, 'roleArn');
      if (roleArn !== undefined) permissions.push({ action: 'iam:PassRole', resource: roleArn });
      return permissions;
    },
    call: async (name, input) => operationOf(name).run(input),
    close: () => executions.stopAll(),
  };
}
