import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import { Architecture, Runtime, Tracing } from 'aws-cdk-lib/aws-lambda';
import { NodejsFunction, type NodejsFunctionProps, OutputFormat } from 'aws-cdk-lib/aws-lambda-nodejs';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import { SHARED_PACKAGES } from '../shared-packages.ts';

/** One file of lambdas/ as a function. SDK and middleware are bundled, so that what was tested is what runs. */
export function handoffFunction(
  scope: Construct,
  id: string,
  props: { file: string; description: string } & Pick<NodejsFunctionProps, 'environment' | 'timeout' | 'memorySize'>,
): NodejsFunction {
  return new NodejsFunction(scope, id, {
    entry: new URL(`../../lambdas/${props.file}`, import.meta.url).pathname,
    depsLockFilePath: new URL('../../package-lock.json', import.meta.url).pathname,
    description: props.description,
    runtime: Runtime.NODEJS_24_X,
    architecture: Architecture.ARM_64,
    memorySize: props.memorySize ?? 512,
    timeout: props.timeout ?? Duration.seconds(30),
    tracing: Tracing.ACTIVE,
    environment: { NODE_OPTIONS: '--enable-source-maps', ...props.environment },
    logGroup: new LogGroup(scope, `${id}Logs`, {
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
