import { XdrError, type XdrReader, type XdrWriter } from './xdr.ts';

/** libvirt's virTypedParameter: a named value that says its own type, so that lists of them can grow over the versions. */
export type TypedParameter =
  | { field: string; type: 'int' | 'uint' | 'double'; value: number }
  | { field: string; type: 'llong' | 'ullong'; value: bigint }
  | { field: string; type: 'boolean'; value: boolean }
  | { field: string; type: 'string'; value: string };

/** virTypedParameterType; a type's number is its place in this list, from 1. */
const TYPES = ['int', 'uint', 'llong', 'ullong', 'double', 'boolean', 'string'] as const;

export function writeTypedParameter(writer: XdrWriter, parameter: TypedParameter): void {
  writer.string(parameter.field).int(TYPES.indexOf(parameter.type) + 1);
  switch (parameter.type) {
    case 'int':
      writer.int(parameter.value);
      break;
    case 'uint':
      writer.uint(parameter.value);
      break;
    case 'llong':
      writer.hyper(parameter.value);
      break;
    case 'ullong':
      writer.uhyper(parameter.value);
      break;
    case 'double':
      writer.double(parameter.value);
      break;
    case 'boolean':
      writer.bool(parameter.value);
      break;
    case 'string':
      writer.string(parameter.value);
      break;
  }
}

export function readTypedParameter(reader: XdrReader): TypedParameter {
  const field = reader.string();
  const number = reader.int();
  const type = TYPES[number - 1];
  switch (type) {
    case 'int':
      return { field, type, value: reader.int() };
    case 'uint':
      return { field, type, value: reader.uint() };
    case 'llong':
      return { field, type, value: reader.hyper() };
    case 'ullong':
      return { field, type, value: reader.uhyper() };
    case 'double':
      return { field, type, value: reader.double() };
    case 'boolean':
      return { field, type, value: reader.bool() };
    case 'string':
      return { field, type, value: reader.string() };
    default:
      throw new XdrError(`the parameter "${field}" has the unknown type ${number}`);
  }
}

/** Parameters by name. */
export type ParameterValues = ReadonlyMap<string, TypedParameter['value']>;

export function byField(parameters: readonly TypedParameter[]): ParameterValues {
  return new Map(parameters.map(({ field, value }) => [field, value]));
}

/** A number by name; counters above 2^53 lose their last digits. */
export function numberIn(values: ParameterValues, field: string): number | undefined {
  const value = values.get(field);
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : undefined;
}
