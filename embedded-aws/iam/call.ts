import { type CallAws, notImplemented, type Service } from '../core/service.ts';
import { authorize } from './authorize.ts';

/** The one way into the services, by endpoint prefix: every permission that a call needs is checked before it is made. */
export function authorizedCalls(services: Readonly<Record<string, Service>>): CallAws {
  return async (name, operation, input, caller) => {
    const service = Object.hasOwn(services, name) ? services[name] : undefined;
    if (!service) throw notImplemented(`the service ${name}`);
    for (const permission of service.requiredPermissions(operation, input)) authorize(caller, permission);
    // Awaited, for a promise that is returned as it is takes two more turns.
    return await service.call(operation, input, caller);
  };
}
