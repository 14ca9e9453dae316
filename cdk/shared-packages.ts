/**
 * The CDK context key that is set to `true` when functions are to import their packages from where the assembly lies, instead of
 * having them bundled: for a process that runs all functions, which then has each package once.
 */
export const SHARED_PACKAGES = 'handoff:sharedPackages';
