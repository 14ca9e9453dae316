/*
 * Loaded into the lab's libvirtd 11.3 by LD_PRELOAD. That version crashes when it prepares to resume a post-copy: it passes NULL
 * for the file descriptor the stream comes from to this function, which reads it. "None" is -1.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

#define DRIVER "libvirt/connection-driver/libvirt_driver_qemu.so"

typedef void *Original(void *, void *, const char *, const char *, int *, const char *, void *, void *);

void *qemuProcessIncomingDefNew(void *driver, void *vm, const char *listenAddress, const char *migrateFrom, int *fd,
                                const char *path, void *data, void *migParams);

void *qemuProcessIncomingDefNew(void *driver, void *vm, const char *listenAddress, const char *migrateFrom, int *fd,
                                const char *path, void *data, void *migParams)
{
    static int none = -1;
    void *module = dlopen(LIBDIR "/" DRIVER, RTLD_LAZY | RTLD_NOLOAD);
    Original *original = module == NULL ? NULL : (Original *)dlsym(module, "qemuProcessIncomingDefNew");

    if (original == NULL)
        return NULL;
    return original(driver, vm, listenAddress, migrateFrom, fd == NULL ? &none : fd, path, data, migParams);
}
