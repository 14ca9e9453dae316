/**
 * Names and ARNs of executions. A Migrate execution's name is the migration's id; a Recover execution's is `<migration id>.<number>`,
 * counted from 1. A VM's lock names its holder in the same way.
 */
export interface ExecutionName {
  migrationId: string;
  /** Of a Recover execution; 0 for Migrate's. */
  recovery: number;
}

export const recoveryName = (migrationId: string, recovery: number): string => `${migrationId}.${recovery}`;

export function parseExecutionName(name: string): ExecutionName {
  const [, migrationId = name, recovery = '0'] = /^(.*)\.(\d+)$/.exec(name) ?? [];
  return { migrationId, recovery: Number(recovery) };
}

/** The ARN that an execution of this machine has by its name. */
export const executionArnOf = (stateMachineArn: string, name: string): string =>
  `${stateMachineArn.replace(':stateMachine:', ':execution:')}:${name}`;

export function parseExecutionArn(executionArn: string): { region: string; name: string } {
  const [, , , region = '', , , , name = ''] = executionArn.split(':');
  return { region, name };
}

/** Where a person follows an execution in the AWS console. */
export function consoleUrl(executionArn: string): string {
  const { region } = parseExecutionArn(executionArn);
  return `https://${region}.console.aws.amazon.com/states/home?region=${region}#/v2/executions/details/${executionArn}`;
}
