import type { Json, JsonObject } from '../core/service.ts';
import type { Template } from './assembly.ts';
import { resolve, type Scope } from './intrinsics.ts';
import { type Environment, type Identity, resourceType } from './resource-types.ts';

/** A resource of the template with every intrinsic function worked out. */
export interface Resource extends Identity {
  logicalId: string;
  type: string;
  properties: JsonObject;
}

export interface ResolvedTemplate {
  resources: Resource[];
  outputs: Record<string, string>;
}

/**
 * Works out all of a template: which resources exist under its conditions, what they are called, and every property.
 *
 * An identity depends only on a resource's name, never on its other properties, so resources may refer to each other in
 * circles here. Unknown types, attributes, parameters and functions fail by name; resources of inert types are left out.
 */
export function resolveTemplate(template: Template, environment: Environment): ResolvedTemplate {
  const identities = new Map<string, Identity>();
  const scope: Scope = {
    ref: (name) => pseudoParameter(name, environment) ?? parameter(template, name) ?? identityOf(name).ref,
    attribute(logicalId, attribute) {
      const value = identityOf(logicalId).attributes[attribute];
      if (value !== undefined) return value;
      const type = template.Resources[logicalId]?.Type;
      throw new Error(`The embedded AWS does not know the attribute ${attribute} of ${type} (resource ${logicalId}).`);
    },
    condition(name) {
      const condition = template.Conditions?.[name];
      if (condition === undefined) throw new Error(`The template has no condition ${name}.`);
      return resolve(condition, scope) === true;
    },
    mapping(map, top, second) {
      const value = template.Mappings?.[map]?.[top]?.[second];
      if (value === undefined) throw new Error(`The template has no mapping ${map}.${top}.${second}.`);
      return value;
    },
  };
  const exists = (part: { Condition?: string }) => part.Condition === undefined || scope.condition(part.Condition);

  function identityOf(logicalId: string): Identity {
    const known = identities.get(logicalId);
    if (known) return known;
    const resource = template.Resources[logicalId];
    if (resource === undefined) throw new Error(`The template has no resource or parameter ${logicalId}.`);
    const type = resourceType(resource.Type, logicalId);
    const given = type.nameProperty === undefined ? undefined : resource.Properties?.[type.nameProperty];
    const name = given === undefined ? `${environment.stackName}-${logicalId}` : String(resolve(given, scope));
    const identity = type.identify(name, environment);
    identities.set(logicalId, identity);
    return identity;
  }

  const resources = Object.entries(template.Resources)
    .filter(([logicalId, resource]) => exists(resource) && !resourceType(resource.Type, logicalId).inert)
    .map(([logicalId, resource]) => ({
      logicalId,
      type: resource.Type,
      properties: resolve(resource.Properties ?? {}, scope) as JsonObject,
      ...identityOf(logicalId),
    }));
  const outputs = Object.entries(template.Outputs ?? {})
    .filter(([, output]) => exists(output))
    .map(([name, output]) => [name, String(resolve(output.Value, scope))] as const);
  return { resources, outputs: Object.fromEntries(outputs) };
}

/** Fails, by name, on a property of the resource that is not among those that are understood. */
export function knownProperties({ logicalId, type, properties }: Resource, known: readonly string[]): JsonObject {
  for (const name of Object.keys(properties)) {
    if (!known.includes(name)) {
      throw new Error(`The embedded AWS does not implement the property ${name} of ${type} (resource ${logicalId}).`);
    }
  }
  return properties;
}

function pseudoParameter(name: string, { region, account, stackName }: Environment): Json | undefined {
  switch (name) {
    case 'AWS::Region':
      return region;
    case 'AWS::AccountId':
      return account;
    case 'AWS::Partition':
      return 'aws';
    case 'AWS::URLSuffix':
      return 'amazonaws.com';
    case 'AWS::StackName':
      return stackName;
    case 'AWS::StackId':
      return `arn:aws:cloudformation:${region}:${account}:stack/${stackName}/local`;
    default:
      return undefined;
  }
}

function parameter(template: Template, name: string): Json | undefined {
  const declared = template.Parameters?.[name];
  if (declared === undefined) return undefined;
  if (declared.Default === undefined)
    throw new Error(`The parameter ${name} has no default, and the embedded AWS sets none.`);
  return declared.Default;
}
