/**
 * The numbers of libvirt's remote protocol (remote_protocol.x, libvirt-domain.h). They are append-only: libvirt keeps
 * every one for good, because clients and daemons of different versions talk to each other.
 */

export const REMOTE_PROGRAM = 0x20008086;
/** What only the QEMU driver has (qemu_protocol.x), on the same socket. */
export const QEMU_PROGRAM = 0x20008087;
/** A program of its own on the same socket; its messages are headers without a body. */
export const KEEPALIVE_PROGRAM = 0x6b656570;
/** All programs have had only this version. */
export const PROTOCOL_VERSION = 1;

export const KEEPALIVE_PING = 1;
export const KEEPALIVE_PONG = 2;

/** virNetMessageType. */
export const MESSAGE_TYPE = { call: 0, reply: 1, event: 2 } as const;
/** virNetMessageStatus. */
export const MESSAGE_STATUS = { ok: 0, error: 1 } as const;

/** REMOTE_PROC_*. */
export const PROCEDURES = {
  CONNECT_OPEN: 1,
  CONNECT_CLOSE: 2,
  CONNECT_GET_VERSION: 4,
  CONNECT_GET_CAPABILITIES: 7,
  DOMAIN_DESTROY: 12,
  DOMAIN_GET_XML_DESC: 14,
  DOMAIN_LOOKUP_BY_NAME: 23,
  DOMAIN_RESUME: 28,
  NETWORK_LOOKUP_BY_NAME: 46,
  CONNECT_SUPPORTS_FEATURE: 60,
  AUTH_LIST: 66,
  DOMAIN_IS_PERSISTENT: 151,
  NETWORK_IS_ACTIVE: 152,
  CONNECT_GET_LIB_VERSION: 157,
  DOMAIN_ABORT_JOB: 164,
  DOMAIN_MIGRATE_SET_MAX_DOWNTIME: 166,
  DOMAIN_MIGRATE_SET_MAX_SPEED: 207,
  DOMAIN_GET_STATE: 212,
  NODE_GET_MEMORY_STATS: 228,
  DOMAIN_UNDEFINE_FLAGS: 231,
  DOMAIN_GET_DISK_ERRORS: 263,
  DOMAIN_GET_JOB_STATS: 298,
  DOMAIN_MIGRATE_BEGIN3_PARAMS: 302,
  DOMAIN_MIGRATE_PREPARE3_PARAMS: 303,
  DOMAIN_MIGRATE_PERFORM3_PARAMS: 305,
  DOMAIN_MIGRATE_FINISH3_PARAMS: 306,
  DOMAIN_MIGRATE_CONFIRM3_PARAMS: 307,
  CONNECT_GET_DOMAIN_CAPABILITIES: 342,
  CONNECT_GET_ALL_DOMAIN_STATS: 344,
  DOMAIN_INTERFACE_ADDRESSES: 353,
  DOMAIN_MIGRATE_START_POST_COPY: 364,
  CONNECT_COMPARE_HYPERVISOR_CPU: 393,
  DOMAIN_START_DIRTY_RATE_CALC: 427,
} as const;
export type Procedure = keyof typeof PROCEDURES;

/** QEMU_PROC_*. */
export const QEMU_PROCEDURES = { QEMU_DOMAIN_MONITOR_COMMAND: 1 } as const;
export type QemuProcedure = keyof typeof QEMU_PROCEDURES;

/** What a procedure is called by on the wire. */
export function callNumber(procedure: Procedure | QemuProcedure): { program: number; procedure: number } {
  return procedure in QEMU_PROCEDURES
    ? { program: QEMU_PROGRAM, procedure: QEMU_PROCEDURES[procedure as QemuProcedure] }
    : { program: REMOTE_PROGRAM, procedure: PROCEDURES[procedure as Procedure] };
}

/** Lists longer than these are refused by libvirt itself, on either side. */
export const LIST_MAX = {
  authTypes: 20,
  domains: 16_384,
  diskErrors: 256,
  domainStats: 262_144,
  jobStats: 64,
  nodeMemoryStats: 16,
  interfaces: 2_048,
  interfaceAddresses: 2_048,
} as const;

/** remote_auth_type, by number. */
export const AUTH_TYPES = ['none', 'sasl', 'polkit'] as const;

/** VIR_DRV_FEATURE_*: what CONNECT_SUPPORTS_FEATURE can be asked. */
export const FEATURE_PROGRAM_KEEPALIVE = 10;

/** VIR_DOMAIN_XML_*. */
export const XML_FLAGS = { inactive: 1 << 1, migratable: 1 << 3 } as const;

/** VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_*. */
export const ADDRESS_SOURCES = { 'guest-agent': 1, arp: 2 } as const;

/** VIR_DOMAIN_UNDEFINE_*. */
export const UNDEFINE_FLAGS = {
  managedSave: 1 << 0,
  snapshotsMetadata: 1 << 1,
  keepNvram: 1 << 3,
  checkpointsMetadata: 1 << 4,
} as const;

/** VIR_DOMAIN_STATS_*: groups of CONNECT_GET_ALL_DOMAIN_STATS. */
export const STATS = { state: 1 << 0, balloon: 1 << 2, vcpu: 1 << 3, block: 1 << 5, dirtyRate: 1 << 9 } as const;
/** VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT: leave out what would have to wait for a job on the domain. */
export const STATS_NOWAIT = 1 << 29;

/** virDomainDirtyRateStatus, as the statistics have it. */
export const DIRTY_RATE_MEASURING = 1;
export const DIRTY_RATE_MEASURED = 2;
/** virDomainDirtyRateCalcFlags. */
export const DIRTY_RATE_BY_SAMPLING = 0;

/** virDomainJobType; the types between are those of active jobs. */
export const JOB_TYPE = { none: 0, completed: 3 } as const;
/** VIR_DOMAIN_JOB_STATS_*. */
export const JOB_STATS_FLAGS = { completed: 1 << 0, keepCompleted: 1 << 1 } as const;

/** VIR_MIGRATE_*. */
export const MIGRATE_FLAGS = {
  live: 1 << 0,
  persistDestination: 1 << 3,
  undefineSource: 1 << 4,
  /** Disks are copied too, in full: those the parameter `migrate_disks` names. */
  nonSharedDisk: 1 << 6,
  autoConverge: 1 << 13,
  postCopy: 1 << 15,
  parallel: 1 << 17,
  postCopyResume: 1 << 19,
  /** Nobody may change the domain between Begin and Confirm; for the source's calls only. */
  changeProtection: 1 << 8,
} as const;

/** The greatest speed libvirt takes, in MiB/s (2^63 bytes/s): its own value for "no limit". */
export const SPEED_MAX_MIBPS = 8_796_093_022_207n;
