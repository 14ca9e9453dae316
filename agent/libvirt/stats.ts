import type { Connection } from './connection.ts';
import { LIST_MAX } from './protocol.ts';
import { type DomainReference, readDomain, writeDomain } from './references.ts';
import { byField, type ParameterValues, readTypedParameter } from './typed-parameters.ts';

export interface DomainStats {
  reference: DomainReference;
  values: ParameterValues;
}

/** Groups of statistics (STATS) of the given domains; of all domains, running or not, when none are given. */
export function domainStats(
  connection: Connection,
  domains: readonly DomainReference[],
  groups: number,
  flags = 0,
): Promise<DomainStats[]> {
  return connection.call(
    'CONNECT_GET_ALL_DOMAIN_STATS',
    (writer) => writer.array(domains, writeDomain).uint(groups).uint(flags),
    (reader) =>
      reader.array(LIST_MAX.domains, (record) => ({
        reference: readDomain(record),
        values: byField(record.array(LIST_MAX.domainStats, readTypedParameter)),
      })),
  );
}
