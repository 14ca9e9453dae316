import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import type { TableV2 } from 'aws-cdk-lib/aws-dynamodb';
import { Architecture, Runtime, Tracing } from 'aws-cdk-lib/aws-lambda';
import { NodejsFunction, OutputFormat } from 'aws-cdk-lib/aws-lambda-nodejs';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import { SHARED_PACKAGES } from '../shared-packages.ts';

/** What every function is given. */
export interface FunctionContext {
  control: TableV2;
  mailbox: TableV2;
  environment: Record<string, string>;
}

/**
 * One file of lambdas/ as a function. Its construct and the function itself have the file's name: `recovery/sweep.ts` is `Sweep` and
 * `handoff-sweep`, with the log group `/aws/lambda/handoff-sweep`. SDK and middleware are bundled, so that what was tested is what
 * runs.
 */
export function handoffFunction(
  scope: Construct,
  { environment }: FunctionContext,
  props: { file: string; description: string; environment?: Record<string, string>; timeout?: Duration },
): NodejsFunction {
  const name = /([a-z-]+)\.ts$/.exec(props.file)![1]!;
  const id = name.replace(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const functionName = `handoff-${name}`;
  return new NodejsFunction(scope, id, {
    functionName,
    entry: new URL(`../../lambdas/${props.file}`, import.meta.url).pathname,
    depsLockFilePath: new URL('../../package-lock.json', import.meta.url).pathname,
    description: props.description,
    runtime: Runtime.NODEJS_24_X,
    architecture: Architecture.ARM_64,
    memorySize: 512,
    timeout: props.timeout ?? Duration.seconds(30),
    tracing: Tracing.ACTIVE,
    environment: { NODE_OPTIONS: '--enable-source-maps', ...environment, ...props.environment },
    logGroup: new LogGroup(scope, `${id}Logs`, {
      logGroupName: `/aws/lambda/${functionName}`,
      retention: RetentionDays.THREE_MONTHS,
      removalPolicy: RemovalPolicy.DESTROY,
    }),
    bundling: {
      format: OutputFormat.ESM,
      target: 'node24',
      mainFields: ['module', 'main'],
      minify: true,
      sourceMap: true,
      sourcesContent: false,
      // Some bundled CommonJS packages call require for node's own modules.
      banner:
        "import { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);",
      externalModules: [],
      esbuildArgs: scope.node.tryGetContext(SHARED_PACKAGES) === 'true' ? { '--packages': 'external' } : {},
    },
  });
}
