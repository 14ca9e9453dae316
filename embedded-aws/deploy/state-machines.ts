import type { JsonObject } from '../core/service.ts';
import { knownProperties, type Resource } from '../template/template.ts';

const PROPERTIES = [
  'Definition',
  'DefinitionString',
  'DefinitionSubstitutions',
  'LoggingConfiguration',
  'RoleArn',
  'StateMachineName',
  'StateMachineType',
  'Tags',
  'TracingConfiguration',
];

/** The input of CreateStateMachine. Where the machine would log and trace is left out: here it does neither. */
export function stateMachineInput(resource: Resource): JsonObject {
  const properties = knownProperties(resource, PROPERTIES);
  const substitutions = (properties.DefinitionSubstitutions ?? {}) as JsonObject;
  const definition = properties.DefinitionString ?? JSON.stringify(properties.Definition);
  return {
    name: resource.attributes.Name as string,
    roleArn: String(properties.RoleArn),
    type: properties.StateMachineType ?? 'STANDARD',
    definition: String(definition).replace(/\$\{(\w+)\}/g, (found, name: string) =>
      Object.hasOwn(substitutions, name) ? String(substitutions[name]) : found,
    ),
  };
}
