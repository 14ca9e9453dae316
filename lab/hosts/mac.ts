/** A MAC address that belongs to an IPv4 address: two bytes of `prefix`, and the address's four. */
export function macOf(prefix: string, address: string): string {
  return [prefix, ...address.split('.').map((number) => Number(number).toString(16).padStart(2, '0'))].join(':');
}
