import { AwsError } from '../../core/service.ts';

export function machineArn(region: string, account: string, name: string): string {
  return `arn:aws:states:${region}:${account}:stateMachine:${name}`;
}

const EXECUTION = /^(arn:aws[a-z-]*:states:[^:]+:[^:]+):execution:([^:]+):([^:]+)$/;
const MACHINE = /^(arn:aws[a-z-]*:states:[^:]+:[^:]+):stateMachine:([^:]+)$/;

export function executionArnOf(stateMachineArn: string, executionName: string): string {
  return `${stateMachineArn.replace(':stateMachine:', ':execution:')}:${executionName}`;
}

/** The machine an execution's ARN names; undefined when it is not such an ARN. */
export function machineArnOf(executionArn: string): string | undefined {
  const [, head, machine] = EXECUTION.exec(executionArn) ?? [];
  return head && `${head}:stateMachine:${machine}`;
}

/** Throws InvalidArn. Versions and aliases (`...:name:1`) do not exist here and are refused with the rest. */
export function checkMachineArn(arn: string): void {
  if (!MACHINE.test(arn)) {
    throw new AwsError(
      'InvalidArn',
      `Invalid Arn: '${arn}' is not the ARN of a state machine (versions and aliases are not supported)`,
    );
  }
}

/** Throws InvalidArn. */
export function checkExecutionArn(arn: string): void {
  if (!EXECUTION.test(arn)) throw new AwsError('InvalidArn', `Invalid Arn: '${arn}' is not the ARN of an execution`);
}

/** Throws InvalidName unless `name` is a name that machines and executions may have. */
export function checkName(name: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what the API forbids.
  if (name.length < 1 || name.length > 80 || /[\s<>{}[\]?*"#%\\^|~`$&,;:/\u0000-\u001f\u007f-\u009f]/.test(name)) {
    throw new AwsError(
      'InvalidName',
      `Invalid Name: '${name}' (1 to 80 characters, without white space, < > { } [ ] ? * " # % \\ ^ | ~ \` $ & , ; : / and control characters)`,
    );
  }
}
