/*
 * The whole userland of a lab guest: /init of its initramfs, one static program.
 *
 * It exists to notice a bad migration. A guest whose memory lost a write, whose disk has a second writer or whose time
 * stood still looks healthy from outside, so this one checks itself all the time and says so on TCP port 7000:
 *
 *   status          -> one line of JSON: the counters below
 *   dirty <MiB/s>   -> changes the rate at which memory is dirtied; answers "ok"
 *   anything else   -> "<answers so far on this connection> <guest's uptime in ms> <the line>", so that a client sees a
 *                      lost, doubled or reordered answer
 *
 * Kernel command line: handoff.address=10.77.0.101/24 handoff.dirty=<MiB/s> handoff.workset=<MiB>
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT 7000
#define PAGE 4096
#define MIB (1024 * 1024)
#define STEP_MS 10 /* memory is dirtied and checked in steps of this length */
#define CHECKED_PER_STEP 64 /* pages looked at in a step besides the dirtied ones: 25 MiB/s, little CPU */
#define LONGEST_CATCH_UP_MS 100 /* after a standstill, dirty no more than this much at once */
#define READ_AGAIN 8 /* times a dirtied page is read: emulated, one CPU then dirties some 400 MiB/s and no more */
#define TICK_MS 100

static uint64_t boot_id;
static atomic_ullong ticks, disk_errors, pattern_errors, dirtied_bytes, checked_bytes;
static atomic_ulong dirty_mib_per_second;
static unsigned long workset_mib = 64;

static uint64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_ms(long ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&t, NULL);
}

static void require(int done, const char *what) {
  if (done) return;
  printf("guest: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

/*
 * Every page carries its own number and generation at its start and again at its end, and `generations` says apart
 * from it what the generation must be: a page that arrives older than it was sent does not agree with it.
 */
struct stamp {
  uint64_t boot, page, generation, sum;
};

static struct stamp stamp_of(uint64_t page, uint64_t generation) {
  struct stamp s = {boot_id, page, generation, boot_id ^ (page * 0x9e3779b97f4a7c15u) ^ (generation << 20)};
  return s;
}

static void write_page(char *memory, uint32_t *generations, uint64_t page) {
  struct stamp s = stamp_of(page, ++generations[page]);
  memcpy(memory + page * PAGE, &s, sizeof s);
  memcpy(memory + page * PAGE + PAGE - sizeof s, &s, sizeof s);
}

static void check_page(const char *memory, uint32_t *generations, uint64_t page) {
  struct stamp s = stamp_of(page, generations[page]);
  if (memcmp(memory + page * PAGE, &s, sizeof s) != 0 ||
      memcmp(memory + page * PAGE + PAGE - sizeof s, &s, sizeof s) != 0)
    pattern_errors++;
  checked_bytes += PAGE;
}

/*
 * What a program does besides writing. Without it a few milliseconds of CPU would dirty as much as a slow link carries in a
 * quarter of a second: no throttle could hold such a guest, and no program is like that.
 */
static uint64_t work_on_page(const char *memory, uint64_t page) {
  const volatile uint64_t *words = (const volatile uint64_t *)(memory + page * PAGE);
  uint64_t sum = 0;
  for (int i = 0; i < READ_AGAIN; i++)
    for (int word = 0; word < PAGE / 8; word++) sum += words[word];
  return sum;
}

/* One thread dirties and checks, so that a page under way is never taken for a bad one. */
static void *run_memory(void *unused) {
  (void)unused;
  uint64_t pages = workset_mib * MIB / PAGE;
  char *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uint32_t *generations = calloc(pages, sizeof *generations);
  require(memory != MAP_FAILED && generations != NULL, "working set");
  for (uint64_t page = 0; page < pages; page++) write_page(memory, generations, page);

  uint64_t next_dirty = 0, next_check = 0, last = nanoseconds();
  double due = 0;
  for (;;) {
    sleep_ms(STEP_MS);
    uint64_t now = nanoseconds();
    double seconds = (double)(now - last) / 1e9;
    last = now;
    if (seconds > LONGEST_CATCH_UP_MS / 1e3) seconds = LONGEST_CATCH_UP_MS / 1e3;
    for (due += seconds * (double)dirty_mib_per_second * MIB / PAGE; due >= 1; due--) {
      check_page(memory, generations, next_dirty);
      write_page(memory, generations, next_dirty);
      work_on_page(memory, next_dirty);
      dirtied_bytes += PAGE;
      next_dirty = (next_dirty + 1) % pages;
    }
    for (int i = 0; i < CHECKED_PER_STEP; i++) {
      check_page(memory, generations, next_check);
      next_check = (next_check + 1) % pages;
    }
  }
  return NULL;
}

/* --- disk --------------------------------------------------------------------------------------------------------- */

struct tick {
  char magic[8];
  uint64_t boot, number, written_ns;
};

/*
 * The disk is a ring of ticks, a page each. Before the next is written, earlier ones must still be there as they were written.
 * A tick's time in nanoseconds is what a second running copy of this guest could not write the same. The copy that is ahead
 * is overwritten later, by as much as it is ahead, so ticks of up to three seconds ago are looked at.
 */
static const uint64_t AGES[] = {1, 10, 30};
#define REMEMBERED 32

static void *run_disk(void *unused) {
  (void)unused;
  int disk = open("/dev/vda", O_RDWR | O_DIRECT | O_DSYNC);
  uint64_t bytes = 0;
  if (disk < 0) return NULL; /* a guest without a disk */
  require(ioctl(disk, BLKGETSIZE64, &bytes) == 0, "size of /dev/vda");
  uint64_t slots = bytes / PAGE;
  struct tick written[REMEMBERED];
  char *page = aligned_alloc(PAGE, PAGE);
  require(page != NULL, "disk buffer");
  for (uint64_t number = 0;; number++) {
    for (size_t i = 0; i < sizeof AGES / sizeof *AGES && AGES[i] <= number; i++) {
      uint64_t earlier = number - AGES[i];
      off_t where = (off_t)(earlier % slots * PAGE);
      if (pread(disk, page, PAGE, where) != PAGE || memcmp(page, &written[earlier % REMEMBERED], sizeof *written) != 0)
        disk_errors++;
    }
    struct tick t = {"HANDOFF", boot_id, number, nanoseconds()};
    written[number % REMEMBERED] = t;
    memset(page, 0, PAGE);
    memcpy(page, &t, sizeof t);
    if (pwrite(disk, page, PAGE, (off_t)(number % slots * PAGE)) != PAGE) disk_errors++;
    ticks++;
    sleep_ms(TICK_MS);
  }
  return NULL;
}

/* --- service ------------------------------------------------------------------------------------------------------ */

static void answer(FILE *out, const char *line, uint64_t answers) {
  unsigned long rate;
  if (strcmp(line, "status") == 0)
    fprintf(out,
            "{\"bootId\":\"%016llx\",\"pid\":%d,\"uptimeMs\":%llu,\"ticks\":%llu,\"diskErrors\":%llu,"
            "\"patternErrors\":%llu,\"dirtiedBytes\":%llu,\"checkedBytes\":%llu,\"dirtyMiBps\":%lu}\n",
            (unsigned long long)boot_id, getpid(), (unsigned long long)(nanoseconds() / 1000000), ticks, disk_errors,
            pattern_errors, dirtied_bytes, checked_bytes, dirty_mib_per_second);
  else if (sscanf(line, "dirty %lu", &rate) == 1) {
    dirty_mib_per_second = rate;
    fputs("ok\n", out);
  } else
    fprintf(out, "%llu %llu %s\n", (unsigned long long)answers, (unsigned long long)(nanoseconds() / 1000000), line);
  fflush(out);
}

static void *serve(void *connection) {
  int fd = (int)(intptr_t)connection;
  FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
  char line[512];
  for (uint64_t answers = 0; in && out && fgets(line, sizeof line, in); answers++) {
    line[strcspn(line, "\r\n")] = 0;
    answer(out, line, answers);
  }
  if (in) fclose(in);
  if (out) fclose(out);
  return NULL;
}

static void accept_forever(void) {
  int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  require(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 64) == 0, "port");
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) continue;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) == 0)
      pthread_detach(thread);
    else
      close(fd);
  }
}

/* --- boot --------------------------------------------------------------------------------------------------------- */

static void load_modules(void) {
  FILE *list = fopen("/modules/list", "r"); /* one file name a line, in the order of their dependencies */
  char path[256] = "/modules/", *name = path + strlen(path);
  while (list && fgets(name, (int)(sizeof path - strlen("/modules/")), list)) {
    name[strcspn(name, "\n")] = 0;
    int fd = open(path, O_RDONLY);
    if (syscall(SYS_finit_module, fd, "", 0) != 0) printf("guest: module %s: %s\n", name, strerror(errno));
    close(fd);
  }
}

static void set_interface(const char *name, const char *address, int prefix) {
  int control = socket(AF_INET, SOCK_DGRAM, 0);
  struct ifreq request = {0};
  struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  in->sin_family = AF_INET;
  require(inet_pton(AF_INET, address, &in->sin_addr) == 1 && ioctl(control, SIOCSIFADDR, &request) == 0, name);
  in->sin_addr.s_addr = htonl(prefix == 0 ? 0 : ~0u << (32 - prefix));
  require(ioctl(control, SIOCSIFNETMASK, &request) == 0, name);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  require(ioctl(control, SIOCSIFFLAGS, &request) == 0, name);
  close(control);
}

static void run_worker(void) {
  char line[4096] = "", address[64] = "", *option;
  FILE *command_line = fopen("/proc/cmdline", "r");
  int prefix = 24;
  unsigned long rate = 0;
  require(command_line != NULL && fgets(line, sizeof line, command_line) != NULL, "/proc/cmdline");
  if ((option = strstr(line, "handoff.address="))) sscanf(option, "handoff.address=%63[0-9.]/%d", address, &prefix);
  if ((option = strstr(line, "handoff.dirty="))) sscanf(option, "handoff.dirty=%lu", &rate);
  if ((option = strstr(line, "handoff.workset="))) sscanf(option, "handoff.workset=%lu", &workset_mib);
  dirty_mib_per_second = rate;
  set_interface("lo", "127.0.0.1", 8);
  if (*address) set_interface("eth0", address, prefix);
  /* Not the blocking kind: an emulated guest has no entropy yet, and two boots only have to differ. */
  require(getrandom(&boot_id, sizeof boot_id, GRND_INSECURE) == sizeof boot_id, "boot id");

  pthread_t thread;
  require(pthread_create(&thread, NULL, run_memory, NULL) == 0, "memory thread");
  require(pthread_create(&thread, NULL, run_disk, NULL) == 0, "disk thread");
  printf("guest: ready at %s\n", address);
  accept_forever();
}

int main(void) {
  mkdir("/dev", 0755);
  mkdir("/proc", 0755);
  mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
  mount("proc", "/proc", "proc", 0, NULL);
  int console = open("/dev/console", O_RDWR);
  for (int fd = 0; console >= 0 && fd < 3; fd++) dup2(console, fd);
  setvbuf(stdout, NULL, _IOLBF, 0);
  load_modules();
  /* The work is done by a child, so that its end shows: the guest powers off instead of staying half alive. */
  pid_t worker = fork();
  if (worker == 0) {
    run_worker();
    exit(0);
  }
  int status = 0;
  while (waitpid(worker, &status, 0) != worker);
  printf("guest: the worker ended (status %d)\n", status);
  sync();
  reboot(RB_POWER_OFF);
}
