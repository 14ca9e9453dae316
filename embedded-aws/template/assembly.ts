import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Json, JsonObject } from '../core/service.ts';

/** A CloudFormation template as it stands in the file, with its intrinsic functions. */
export interface Template {
  Resources: Record<string, { Type: string; Properties?: JsonObject; Condition?: string }>;
  Outputs?: Record<string, { Value: Json; Condition?: string }>;
  Parameters?: Record<string, { Type: string; Default?: Json }>;
  Conditions?: JsonObject;
  Mappings?: Record<string, Record<string, JsonObject>>;
}

/** One synthesized stack: its template, and the folders of its file assets. */
export interface Assembly {
  stackName: string;
  template: Template;
  /** Folder or file of each file asset, by the object key the template names it with. */
  assets: ReadonlyMap<string, string>;
}

interface Artifact {
  type: string;
  dependencies?: string[];
  properties?: { templateFile?: string; stackName?: string; file?: string };
}

interface AssetManifest {
  files?: Record<
    string,
    { source: { path?: string; executable?: string[] }; destinations: Record<string, { objectKey: string }> }
  >;
}

/**
 * Reads a CDK cloud assembly (`cdk.out`). Fails when it holds no stack, when it holds several and `stackName` does not
 * say which, and when an asset is not a file in the assembly.
 */
export function readAssembly(folder: string, stackName?: string): Assembly {
  const manifestFile = join(folder, 'manifest.json');
  if (!existsSync(manifestFile)) {
    throw new Error(`${folder} is not a CDK cloud assembly: it has no manifest.json. "cdk synth" makes one.`);
  }
  const artifacts = readJson<{ artifacts?: Record<string, Artifact> }>(manifestFile).artifacts ?? {};
  const stacks = Object.entries(artifacts)
    .filter(([, artifact]) => artifact.type === 'aws:cloudformation:stack')
    .map(([id, artifact]) => ({ id, name: artifact.properties?.stackName ?? id, artifact }));
  const chosen = stackName === undefined ? stacks : stacks.filter((stack) => stack.name === stackName);
  const [stack, ...others] = chosen;
  if (stack === undefined || others.length > 0) {
    const found = stacks.map((each) => each.name).join(', ') || 'none';
    throw new Error(
      `${folder} must hold exactly one stack${stackName ? ` named ${stackName}` : ''}; it holds: ${found}.`,
    );
  }

  const assets = new Map<string, string>();
  for (const id of stack.artifact.dependencies ?? []) {
    const artifact = artifacts[id];
    if (artifact?.type !== 'cdk:asset-manifest' || artifact.properties?.file === undefined) continue;
    const manifest = readJson<AssetManifest>(join(folder, artifact.properties.file));
    for (const [asset, { source, destinations }] of Object.entries(manifest.files ?? {})) {
      if (source.path === undefined) throw new Error(`Asset ${asset} is not a file in the assembly.`);
      for (const { objectKey } of Object.values(destinations)) assets.set(objectKey, join(folder, source.path));
    }
  }
  const template = readJson<Template>(
    join(folder, stack.artifact.properties?.templateFile ?? `${stack.id}.template.json`),
  );
  return { stackName: stack.name, template, assets };
}

const readJson = <T>(file: string): T => JSON.parse(readFileSync(file, 'utf8')) as T;
